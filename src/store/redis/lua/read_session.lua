-- Look at a session without using it.
--
-- KEYS  1 [hash] session
--       2 [hash] standing
-- ARGV  1 [int] idle time, ms
--
-- Returns {ms of the store's clock, card, provider, last used ms, ends ms, decision}, or {ms} when it is no more, or nothing is
-- remembered of its subject.
assert(#KEYS == 2 and #ARGV == 1, 'read_session.lua takes 2 keys and 1 argument')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local kept = redis.call('HMGET', KEYS[1], 'e', 'c', 'p', 'l')
if not kept[1] then
  return {ms}
end
local ends, used = tonumber(kept[1]), tonumber(kept[4])
if ms >= ends or ms >= used + ARGV[1] then
  return {ms}
end
local standing = redis.call('HMGET', KEYS[2], kept[3] .. ':d', ':e')
if not standing[1] or tonumber(string.match(kept[2], '^%d+')) < tonumber(standing[2] or 0) then
  return {ms}
end
return {ms, kept[2], kept[3], used, ends, standing[1]}
