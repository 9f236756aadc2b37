-- End one of a subject's sessions for good, for another one of them or for itself.
--
-- KEYS  1 [hash]   session that asks
--       2 [string] subject: how often its sessions were ended, and the identity it is bound to
--       3 [hash]   standing
--       4 [zset]   devices: the subject's sessions
--       5 [hash]   session that is to end
-- ARGV  1 [string] request id: a repeat with the same id answers the same
--       2 [int]    idle time, ms
--       3 [int]    how long the ended session stays as a tombstone, ms
--       4 [string] id: what the key of the session that is to end ends with
--
-- Returns {ms of the store's clock, 2 when it lived until now, 1 when there is no such session, 0 when the one that asks is no
-- more}.
assert(#KEYS == 5 and #ARGV == 4, 'end_listed_session.lua takes 5 keys and 4 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local subject = ' ' .. (redis.call('GET', KEYS[2]) or '')
local function lives(key)
  local kept = redis.call('HMGET', key, 'e', 'l', 'c', 'p')
  return kept[1] and ms < tonumber(kept[1]) and ms < kept[2] + ARGV[2] and string.sub(kept[3], -#subject) == subject
    and redis.call('HEXISTS', KEYS[3], kept[4]) == 1
end

-- First, for what asks may be what this request has ended.
if redis.call('HGET', KEYS[5], 'x') == ARGV[1] then
  return {ms, 2}
elseif not lives(KEYS[1]) then
  return {ms, 0}
elseif not lives(KEYS[5]) then
  return {ms, 1}
end
redis.call('HSET', KEYS[5], 'x', ARGV[1], 'z', redis.call('HGET', KEYS[5], 'e'))
redis.call('HDEL', KEYS[5], 'e')
redis.call('PEXPIRE', KEYS[5], ARGV[3])
redis.call('ZREM', KEYS[4], ARGV[4])
return {ms, 2}
