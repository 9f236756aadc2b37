-- Look up whose an identity is.
--
-- KEYS  1 [hash] claim
--
-- Returns {ms of the store's clock, issuer, value of the subject claim, the same two of the subject that it is on its way to, or
-- nil}, or {ms} when it is nobody's.
assert(#KEYS == 1 and #ARGV == 0, 'find_subject.lua takes 1 key and no argument')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local kept = redis.call('HMGET', KEYS[1], 'k', 'i', 'v', 'mi', 'mv')
if not kept[1] then
  return {ms}
end
return {ms, kept[2], kept[3], kept[4], kept[5]}
