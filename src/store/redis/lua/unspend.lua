-- Take back that something was spent, for the request that has spent it and got nothing for it.
--
-- KEYS  1 [string] spent
-- ARGV  1 [string] request id of the one that has spent it
--
-- Returns {ms of the store's clock}. What another request has spent stays spent, and so a repeat does nothing.
assert(#KEYS == 1 and #ARGV == 1, 'unspend.lua takes 1 key and 1 argument')

local time = redis.call('TIME')
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return {time[1] * 1000 + math.floor(time[2] / 1000)}
