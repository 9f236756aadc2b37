-- End a lease for good, and have its guest scrubbed.
--
-- KEYS  1 [hash]   pool
--       2 [hash]   guest
-- ARGV  1 [string] request id: a repeat with the same id answers the same
--       2 [string] digest of the holder's secret
--       3 [int]    guest
--       4 [string] the member that the holder has become; empty for none
--       5 [int]    cool-down, ms
--       6 [int]    for how long the member counts as about to connect, ms
--
-- Returns {ms of the store's clock, 1} when it lived, {ms, 2} when it was ended before, {ms, 0} when it is over or never was.
-- It cools from its last token's end on, which may be earlier than its own end would have been.
assert(#KEYS == 2 and #ARGV == 6, 'end_lease.lua takes 2 keys and 6 arguments')

local kept = redis.call('HMGET', KEYS[2], 'i', 's', 'e', 'x', 'g')
if kept[1] ~= ARGV[2] then
  return {ms, 0}
end
if kept[5] then
  return {ms, kept[5] == ARGV[1] and 1 or 2}
end
if ms >= tonumber(kept[3]) or tonumber(kept[2]) < tonumber(redis.call('HGET', pool, 'q') or 0) then
  return {ms, 0}
end
local ready = math.max(kept[4], ms) + ARGV[5]
redis.call('HSET', KEYS[2], 'g', ARGV[1], 'b', ready)
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[2], 'h', ARGV[4], 'hu', math.max(begins(month_of(ms) + 1), ms + ARGV[6]))
end
redis.call('ZADD', at('busy'), ready, ARGV[3])
redis.call('ZADD', at('work'), ms, ARGV[3])
redis.call('ZREM', at('joins'), ARGV[3])
return {ms, 1}
