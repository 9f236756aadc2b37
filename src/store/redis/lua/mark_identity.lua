-- Mark an identity as blocked, or not any more.
--
-- KEYS  1 [hash] claim
-- ARGV  1 [string] 1 when it is blocked from now on, 0 when it is not
--
-- Returns {ms of the store's clock, 1 when it was blocked before, else 0, and whose it is, as find_subject.lua does}.
assert(#KEYS == 1 and #ARGV == 1, 'mark_identity.lua takes 1 key and 1 argument')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local kept = redis.call('HMGET', KEYS[1], 'b', 'i', 'v', 'mi', 'mv')
if ARGV[1] == '1' then
  redis.call('HSET', KEYS[1], 'b', 1)
else
  redis.call('HDEL', KEYS[1], 'b')
end
return {ms, kept[1] and 1 or 0, kept[2], kept[3], kept[4], kept[5]}
