-- Bind a subject to the identity that was moved to it, whatever it was bound to before, and end its sessions.
--
-- KEYS  1 [string] subject: how often its sessions were ended, and the identity it is bound to
-- ARGV  1 [string] identity
--       2 [string] how often the sessions had been ended before the identity became the subject's
--
-- Returns {ms of the store's clock, 1 when it is bound to it, now or since before, 0 when its sessions were ended since: the
-- identity may have been moved on by then, and whoever comes late must not bind a second subject to it; 0 also when its identity
-- is blocked}.
assert(#KEYS == 1 and #ARGV == 2, 'bind_subject.lua takes 1 key and 2 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local endings, identity = string.match(redis.call('GET', KEYS[1]) or '0 ', '^(%d+) (.*)$')
if identity == ARGV[1] then
  return {ms, 1}
elseif endings + 0 ~= tonumber(ARGV[2]) or string.sub(identity, 1, 1) == '!' then
  return {ms, 0}
end
redis.call('SET', KEYS[1], string.format('%.0f %s', endings + 1, ARGV[1]))
return {ms, 1}
