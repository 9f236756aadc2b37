-- Look at a session without using it.
--
-- KEYS  1 [hash] session
-- ARGV  1 [int] idle time, ms
--
-- Returns {ms of the store's clock, card, last used ms, ends ms}, or {ms} when it is no more.
assert(#KEYS == 1 and #ARGV == 1, 'read_session.lua takes 1 key and 1 argument')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local kept = redis.call('HMGET', KEYS[1], 'e', 'c', 'l')
if not kept[1] then
  return {ms}
end
local ends, used = tonumber(kept[1]), tonumber(kept[3])
if ms >= ends or ms >= used + ARGV[1] then
  return {ms}
end
return {ms, kept[2], used, ends}
