-- Look up why somebody was denied.
--
-- KEYS  1 [string] denial
--
-- Returns {ms of the store's clock, the denial or nil}.
assert(#KEYS == 1 and #ARGV == 0, 'find_denial.lua takes 1 key and no argument')

local time = redis.call('TIME')
return {time[1] * 1000 + math.floor(time[2] / 1000), redis.call('GET', KEYS[1])}
