-- Look up whether something was spent.
--
-- KEYS  1 [string] spent
--
-- Returns {ms of the store's clock, 1 when it was, else 0}.
assert(#KEYS == 1 and #ARGV == 0, 'was_spent.lua takes 1 key and no argument')

local time = redis.call('TIME')
return {time[1] * 1000 + math.floor(time[2] / 1000), redis.call('EXISTS', KEYS[1])}
