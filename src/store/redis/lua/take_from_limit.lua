-- Count one time against a limit (GCRA).
--
-- KEYS  1 [hash] limit    t: when it is untouched again, µs; r: the request counted last
-- ARGV  1 [string] request id: a repeat right after is not counted again
--       2 [int]    interval between two times, µs
--       3 [int]    burst: interval times count, µs
--
-- Returns {ms of the store's clock, 1} when counted, or {ms, 0, µs until it is allowed again}.
-- Microseconds since 1970 are whole numbers in Lua's doubles until the year 2255.
assert(#KEYS == 1 and #ARGV == 3, 'take_from_limit.lua takes 1 key and 3 arguments')

local time = redis.call('TIME')
local us = time[1] * 1000000 + time[2]
local ms = math.floor(us / 1000)

local kept = redis.call('HMGET', KEYS[1], 't', 'r')
if kept[2] == ARGV[1] then
  return {ms, 1}
end

local untouched = math.max(kept[1] or 0, us) + ARGV[2]
local wait = untouched - us - ARGV[3]
if wait > 0 then
  return {ms, 0, wait}
end
redis.call('HSET', KEYS[1], 't', untouched, 'r', ARGV[1])
redis.call('PEXPIREAT', KEYS[1], math.ceil(untouched / 1000))
return {ms, 1}
