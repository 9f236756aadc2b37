-- Spend what counts only once.
--
-- KEYS  1 [string] spent
-- ARGV  1 [string] request id: a repeat with the same id answers the same
--       2 [int]    how long that is remembered, ms
--
-- Returns {ms of the store's clock, 1 when it is spent now, 0 when it was before}.
assert(#KEYS == 1 and #ARGV == 2, 'spend_once.lua takes 1 key and 2 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local spent_by = redis.call('GET', KEYS[1])
if spent_by then
  return {ms, spent_by == ARGV[1] and 1 or 0}
end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {ms, 1}
