-- Say how work on a guest ended.
--
-- KEYS  1 [hash]   pool
--       2 [hash]   guest
-- ARGV  1 [int]    guest
--       2 [string] claim
--       3 [string] joined, inherited, clean, dirty or failed
--       4 [int]    when to try again, ms from now; for failed, and for dirty while writing is free
--
-- Returns {ms of the store's clock, 1}, or {ms, 0} when the claim is another's by now, or was finished before.
-- A guest is idle only when it was claimed once it was ready: what was read before may have changed while a token lived.
-- A dirty one is stale only in a month in which it is not active: until then it is paid for, and tried again.
assert(#KEYS == 2 and #ARGV == 4, 'finish_guest_work.lua takes 2 keys and 4 arguments')

local guest = ARGV[1]
local kept = redis.call('HMGET', KEYS[2], 'k', 'q', 'b', 'i', 's', 'h', 'a', 'j')
if kept[1] ~= ARGV[2] then
  return {ms, 0}
end
if ARGV[3] == 'inherited' then
  redis.call('HDEL', KEYS[2], 'h', 'hu')
  return {ms, 1}
end
if ARGV[3] == 'failed' or ARGV[3] == 'joined' then
  redis.call('HDEL', KEYS[2], 'k', 'w', 'q', 'j')
  if not kept[8] then
    redis.call('ZADD', at('work'), ms + ARGV[4], guest)
    return {ms, 1}
  end
  if ARGV[3] == 'joined' then
    redis.call('ZREM', at('joins'), guest)
  elseif redis.call('ZSCORE', at('joins'), guest) then
    redis.call('ZADD', at('joins'), ms + ARGV[4], guest)
  end
  if redis.call('ZSCORE', at('work'), guest) then
    -- Given back meanwhile, or ready, it has waited for this worker.
    redis.call('ZADD', at('work'), ms, guest)
  end
  return {ms, 1}
end
if kept[6] then
  return {ms, 0}
end

local known = redis.call('HMGET', pool, 'd', 'fl', 'fi')
local ready = tonumber(kept[3])
if not kept[4] then
  -- In what was lost it may have been idle, and lent.
  ready = math.max(ready, known[3] or 0)
elseif known[1] and tonumber(kept[5]) < tonumber(known[1]) then
  ready = math.max(ready, known[2])
end
if string.match(redis.call('HGET', pool, 'w') or '', '^%d+') == guest then
  -- Another stale guest may be scrubbed for the next visitor.
  redis.call('HDEL', pool, 'w')
end
redis.call('HDEL', KEYS[2], 'k', 'w', 'q')
redis.call('ZREM', at('work'), guest)
if tonumber(kept[2]) < ready then
  redis.call('ZADD', at('busy'), ready, guest)
  return {ms, 1}
end
local dirty = ARGV[3] == 'dirty'
if dirty and tonumber(kept[7]) >= month_of(ms) then
  redis.call('ZADD', at('work'), ms + ARGV[4], guest)
  return {ms, 1}
end
redis.call('DEL', KEYS[2])
redis.call('ZREM', at('busy'), guest)
redis.call('ZREM', at('joins'), guest)
if dirty then
  redis.call('ZADD', at('stale'), guest, guest)
else
  redis.call('ZADD', at('idle:' .. kept[7]), ms, guest)
  redis.call('ZADD', at('months'), kept[7], kept[7])
end
return {ms, 1}
