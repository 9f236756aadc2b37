-- Claim an identity for a subject, for ever.
--
-- KEYS  1 [hash] claim
-- ARGV  1 [string] subject key
--       2 [string] issuer
--       3 [string] value of the subject claim
--
-- Returns {ms of the store's clock, 1 when it is this subject's, 0 when it is another's or on its way to one, 2 when it would be
-- this subject's but is blocked}. The first claim wins; the same claim again wins again.
assert(#KEYS == 1 and #ARGV == 3, 'claim_identity.lua takes 1 key and 3 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local kept = redis.call('HMGET', KEYS[1], 'k', 'mk', 'b')
if kept[2] or (kept[1] and kept[1] ~= ARGV[1]) then
  return {ms, 0}
elseif kept[3] then
  return {ms, 2}
elseif not kept[1] then
  redis.call('HSET', KEYS[1], 'k', ARGV[1], 'i', ARGV[2], 'v', ARGV[3])
end
return {ms, 1}
