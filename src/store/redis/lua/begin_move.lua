-- Begin to move an identity to another subject: from now on nobody can claim it.
--
-- KEYS  1 [hash] claim
-- ARGV  1 [string] key of the subject that it leaves
--       2 [string] key of the subject that it goes to
--       3 [string] that one's issuer
--       4 [string] and value of the subject claim
--
-- Returns {ms of the store's clock, 1 when it is on its way there or has arrived, 0 when it is not the first subject's, on its way
-- elsewhere, or blocked}.
assert(#KEYS == 1 and #ARGV == 4, 'begin_move.lua takes 1 key and 4 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local kept = redis.call('HMGET', KEYS[1], 'k', 'mk', 'b')
local owner, next_owner = kept[1], kept[2]
if kept[3] then
  return {ms, 0}
elseif owner == ARGV[2] and not next_owner then
  return {ms, 1}
elseif owner ~= ARGV[1] or (next_owner and next_owner ~= ARGV[2]) then
  return {ms, 0}
end
redis.call('HSET', KEYS[1], 'mk', ARGV[2], 'mi', ARGV[3], 'mv', ARGV[4])
return {ms, 1}
