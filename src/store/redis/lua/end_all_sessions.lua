-- End all sessions of a subject, those that are about to be opened too.
--
-- KEYS  1 [string] subject: how often its sessions were ended, and the identity it is bound to
-- ARGV  1 [int]    how often the caller found that they were ended: a repeat ends nothing that has begun since
--
-- Returns {ms of the store's clock}.
assert(#KEYS == 1 and #ARGV == 1, 'end_all_sessions.lua takes 1 key and 1 argument')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local endings, identity = string.match(redis.call('GET', KEYS[1]) or '0 ', '^(%d+) (.*)$')
if endings + 0 <= tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], string.format('%.0f %s', endings + 1, identity))
end
return {ms}
