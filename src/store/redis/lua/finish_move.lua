-- Give an identity that is on its way to the subject it goes to.
--
-- KEYS  1 [hash] claim
-- ARGV  1 [string] key of the subject that it goes to
--       2 [string] that one's issuer
--       3 [string] and value of the subject claim
--
-- Returns {ms of the store's clock, 1 when it is that subject's, now or since before, 0 when it is not on its way there, or
-- blocked}.
assert(#KEYS == 1 and #ARGV == 3, 'finish_move.lua takes 1 key and 3 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local kept = redis.call('HMGET', KEYS[1], 'k', 'mk', 'b')
if kept[3] or (kept[2] or kept[1]) ~= ARGV[1] then
  return {ms, 0}
elseif kept[2] then
  redis.call('HSET', KEYS[1], 'k', ARGV[1], 'i', ARGV[2], 'v', ARGV[3])
  redis.call('HDEL', KEYS[1], 'mk', 'mi', 'mv')
end
return {ms, 1}
