-- Look up a subject's identity.
--
-- KEYS  1 [string] subject
--
-- Returns {ms of the store's clock, identity or nil}.
assert(#KEYS == 1 and #ARGV == 0, 'find_identity.lua takes 1 key and no argument')

local time = redis.call('TIME')
return {time[1] * 1000 + math.floor(time[2] / 1000), redis.call('GET', KEYS[1])}
