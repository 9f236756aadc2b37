-- Look up whose an identity is, and whether it is blocked.
--
-- KEYS  1 [hash] claim
--
-- Returns {ms of the store's clock, 1 when it is blocked, else 0, issuer, value of the subject claim, the same two of the subject
-- that it is on its way to}, each of these four nil when there is none.
assert(#KEYS == 1 and #ARGV == 0, 'find_subject.lua takes 1 key and no argument')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local kept = redis.call('HMGET', KEYS[1], 'b', 'i', 'v', 'mi', 'mv')
return {ms, kept[1] and 1 or 0, kept[2], kept[3], kept[4], kept[5]}
