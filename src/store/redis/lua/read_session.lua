-- Look at a session without using it.
--
-- KEYS  1 [hash]   session
--       2 [string] subject: how often its sessions were ended, and the identity it is bound to
--       3 [hash]   standing
-- ARGV  1 [int] idle time, ms
--
-- Returns {ms of the store's clock, card, provider, last used ms, ends ms, asked or nil, brief, decision}, or {ms} when it is
-- no more, or its subject is another than when it began, or nothing is remembered of it.
assert(#KEYS == 3 and #ARGV == 1, 'read_session.lua takes 3 keys and 1 argument')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local kept = redis.call('HMGET', KEYS[1], 'e', 'c', 'p', 'l', 'v')
if not kept[1] then
  return {ms}
end
local ends, used = tonumber(kept[1]), tonumber(kept[4])
if ms >= ends or ms >= used + ARGV[1] then
  return {ms}
end
local subject = redis.call('GET', KEYS[2]) or ''
local standing = redis.call('HMGET', KEYS[3], kept[3], kept[3] .. ':d')
if not standing[1] or string.sub(kept[2], -#subject - 1) ~= ' ' .. subject then
  return {ms}
end
return {ms, kept[2], kept[3], used, ends, kept[5], standing[1], standing[2]}
