-- Open a session, and bind its subject to an identity if it has none.
--
-- KEYS  1 [hash]   session
--       2 [string] subject: the identity it is bound to
-- ARGV  1 [string] identity for a subject that has none
--       2 [string] provider
--       3 [int]    lifetime, ms
--       4 [int]    idle time, ms
--       5 [string] friendly name; left out when there is none
--
-- Returns {ms of the store's clock, card, last used ms, ends ms}.
-- A session that is there already stays as it is, ended or not: a repeat that comes late does not bring it back.
assert(#KEYS == 2 and (#ARGV == 4 or #ARGV == 5), 'open_session.lua takes 2 keys and 4 or 5 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local kept = redis.call('HMGET', KEYS[1], 'c', 'l', 'e', 'z')
if kept[1] then
  return {ms, kept[1], tonumber(kept[2]), tonumber(kept[3] or kept[4])}
end

local identity = redis.call('GET', KEYS[2])
if not identity then
  identity = ARGV[1]
  redis.call('SET', KEYS[2], identity)
end
local ends = ms + ARGV[3]
local card = string.format('%.0f %s %s', ms, identity, ARGV[2])
if ARGV[5] then
  card = card .. ' ' .. ARGV[5]
end
redis.call('HSET', KEYS[1], 'e', ends, 'c', card, 'l', ms)
redis.call('PEXPIREAT', KEYS[1], math.min(ends, ms + ARGV[4]))
return {ms, card, ms, ends}
