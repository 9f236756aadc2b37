-- Leave a session to others, but to nobody for a while.
--
-- KEYS  1 [hash]   session
-- ARGV  1 [string] request id: the one that has the session
--       2 [int]    pause, ms
--
-- Returns {ms of the store's clock}. Does nothing when that request has it no more.
assert(#KEYS == 1 and #ARGV == 2, 'pause_revalidation.lua takes 1 key and 2 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local holder, till = string.match(redis.call('HGET', KEYS[1], 'w') or '', '^(%S+) (%d+)$')
if holder == ARGV[1] and till ~= '0' then
  redis.call('HSET', KEYS[1], 'w', string.format('- %.0f', ms + ARGV[2]))
end
return {ms}
