-- End a lease for good, and have its guest scrubbed.
--
-- KEYS  1 [hash]   pool
--       2 [hash]   guest
-- ARGV  1 [string] digest of the holder's secret
--       2 [int]    guest
--       3 [string] the member that the holder has become; empty for none
--       4 [int]    cool-down, ms
--
-- Returns {ms of the store's clock, 1} when it lived, {ms, 0} when it did not.
-- It cools from its last token's end on, which may be earlier than its own end would have been.
assert(#KEYS == 2 and #ARGV == 4, 'end_lease.lua takes 2 keys and 4 arguments')

local kept = redis.call('HMGET', KEYS[2], 'i', 's', 'e', 'x', 'g')
if kept[1] ~= ARGV[1] then
  return {ms, 0}
end
if kept[5] then
  return {ms, 1}
end
if ms >= tonumber(kept[3]) or tonumber(kept[2]) < tonumber(redis.call('HGET', pool, 'q') or 0) then
  return {ms, 0}
end
local ready = math.max(kept[4], ms) + ARGV[4]
redis.call('HSET', KEYS[2], 'g', '1', 'b', ready)
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[2], 'h', ARGV[3])
end
redis.call('ZADD', at('busy'), ready, ARGV[2])
redis.call('ZADD', at('work'), ms, ARGV[2])
redis.call('ZREM', at('joins'), ARGV[2])
return {ms, 1}
