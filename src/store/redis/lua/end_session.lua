-- End a session for good.
--
-- KEYS  1 [hash]   session
--       2 [string] subject: how often its sessions were ended, and the identity it is bound to
--       3 [hash]   standing
--       4 [zset]   devices: the subject's sessions
-- ARGV  1 [string] request id: a repeat with the same id answers the same
--       2 [int]    idle time, ms
--       3 [int]    how long the ended session stays as a tombstone, ms
--       4 [string] id: what the session's key ends with
--
-- Returns {ms of the store's clock, 1 when it lived until now, 0 when it was no more}.
-- The tombstone keeps a step that comes late from bringing the session back. Of what never lived none is kept: anybody could
-- fill the memory with made-up cookies.
assert(#KEYS == 4 and #ARGV == 4, 'end_session.lua takes 4 keys and 4 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local kept = redis.call('HMGET', KEYS[1], 'e', 'l', 'x', 'c', 'p')
if kept[3] then
  return {ms, kept[3] == ARGV[1] and 1 or 0}
elseif not kept[1] or ms >= tonumber(kept[1]) or ms >= kept[2] + ARGV[2] then
  return {ms, 0}
end
local subject = redis.call('GET', KEYS[2]) or ''
if redis.call('HEXISTS', KEYS[3], kept[5]) == 0 or string.sub(kept[4], -#subject - 1) ~= ' ' .. subject then
  return {ms, 0}
end
redis.call('HSET', KEYS[1], 'x', ARGV[1], 'z', kept[1])
redis.call('HDEL', KEYS[1], 'e')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('ZREM', KEYS[4], ARGV[4])
return {ms, 1}
