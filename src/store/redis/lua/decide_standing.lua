-- Keep what the policy says of the claims that are kept.
--
-- KEYS  1 [hash] standing
-- ARGV  1 [string] provider
--       2 [string] when the claims were obtained that it says it of, ms
--       3 [string] verdict
--       4 [string] decision
--
-- Returns {ms of the store's clock, 1}, or {ms, 0} when there are other claims by now, or none.
assert(#KEYS == 1 and #ARGV == 4, 'decide_standing.lua takes 1 key and 4 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local brief = redis.call('HGET', KEYS[1], ARGV[1])
if not brief or string.match(brief, '%d+$') ~= ARGV[2] then
  return {ms, 0}
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3] .. ' ' .. ARGV[2], ARGV[1] .. ':d', ARGV[4])
return {ms, 1}
