-- End all sessions of a subject for good but the one that asks.
--
-- KEYS  1 [hash]   session that asks
--       2 [string] subject: how often its sessions were ended, and the identity it is bound to
--       3 [hash]   standing
--       4 [zset]   devices: the subject's sessions
-- ARGV  1 [string] request id: a repeat right after ends nothing
--       2 [int]    idle time, ms
--       3 [int]    how long an ended session stays as a tombstone, ms
--       4 [string] id: what the key of the session that asks ends with
--
-- Returns {ms of the store's clock, 1}, or {ms, 0} when the session that asks is no more.
assert(#KEYS == 4 and #ARGV == 4, 'end_other_sessions.lua takes 4 keys and 4 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local kept = redis.call('HMGET', KEYS[1], 'e', 'l', 'c', 'p', 'o')
if not kept[1] or ms >= tonumber(kept[1]) or ms >= kept[2] + ARGV[2] then
  return {ms, 0}
end
local subject = redis.call('GET', KEYS[2]) or ''
if redis.call('HEXISTS', KEYS[3], kept[4]) == 0 or string.sub(kept[3], -#subject - 1) ~= ' ' .. subject then
  return {ms, 0}
elseif kept[5] == ARGV[1] then
  return {ms, 1}
end

local stem = string.sub(KEYS[1], 1, -#ARGV[4] - 1)
for _, id in ipairs(redis.call('ZRANGE', KEYS[4], 0, -1)) do
  if id ~= ARGV[4] then
    local other = stem .. id
    local ends = redis.call('HGET', other, 'e')
    if ends then
      redis.call('HSET', other, 'x', ARGV[1], 'z', ends)
      redis.call('HDEL', other, 'e')
      redis.call('PEXPIRE', other, ARGV[3])
    end
    redis.call('ZREM', KEYS[4], id)
  end
end
redis.call('HSET', KEYS[1], 'o', ARGV[1])
return {ms, 1}
