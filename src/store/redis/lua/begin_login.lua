-- Begin a login, once.
--
-- KEYS  1 [hash] login
-- ARGV  1 [string] provider
--       2 [string] digest of the browser's binding secret
--       3 [string] where the browser goes afterwards
--       4 [int]    patience, ms
--
-- Returns {ms of the store's clock}. A login that is there already stays as it is, taken or not: only a repeat can name it,
-- for its name comes from 256 random bits.
assert(#KEYS == 1 and #ARGV == 4, 'begin_login.lua takes 1 key and 4 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'p', ARGV[1], 'b', ARGV[2], 'u', ARGV[3])
  redis.call('PEXPIREAT', KEYS[1], ms + ARGV[4])
end
return {ms}
