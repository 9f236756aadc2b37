-- Keep why somebody was denied.
--
-- KEYS  1 [string] denial
-- ARGV  1 [string] the denial
--       2 [int]    how long it is kept, ms
--
-- Returns {ms of the store's clock}. The same again changes nothing but how long it is kept.
assert(#KEYS == 1 and #ARGV == 2, 'keep_denial.lua takes 1 key and 2 arguments')

local time = redis.call('TIME')
redis.call('SET', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {time[1] * 1000 + math.floor(time[2] / 1000)}
