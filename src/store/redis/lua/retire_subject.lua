-- Take an identity from a subject and end all its sessions, those that are about to be opened too.
--
-- KEYS  1 [string] subject: how often its sessions were ended, and the identity it is bound to
-- ARGV  1 [string] identity; a subject that is bound to another one keeps that
--
-- Returns {ms of the store's clock, 1}, or {ms, 0} when that identity of the subject's is blocked: it stays so.
assert(#KEYS == 1 and #ARGV == 1, 'retire_subject.lua takes 1 key and 1 argument')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local endings, identity = string.match(redis.call('GET', KEYS[1]) or '0 ', '^(%d+) (.*)$')
if identity == '!' .. ARGV[1] then
  return {ms, 0}
elseif identity == ARGV[1] then
  identity = ''
end
redis.call('SET', KEYS[1], string.format('%.0f %s', endings + 1, identity))
return {ms, 1}
