-- Mark a subject as one whose identity is blocked, and end its sessions; or take the mark away.
--
-- KEYS  1 [string] subject: how often its sessions were ended, and the identity it is bound to
-- ARGV  1 [string] identity; a subject that is bound to another one is not marked, but its sessions end
--       2 [string] empty for the mark; to take it away, how often the sessions had been ended before the identity was found to be
--                  blocked no more
--
-- Returns {ms of the store's clock}. A mark that was made since then stays: each counts as an ending.
assert(#KEYS == 1 and #ARGV == 2, 'mark_subject.lua takes 1 key and 2 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local endings, identity = string.match(redis.call('GET', KEYS[1]) or '0 ', '^(%d+) (.*)$')
if ARGV[2] == '' then
  if identity == ARGV[1] then
    identity = '!' .. identity
  end
  redis.call('SET', KEYS[1], string.format('%.0f %s', endings + 1, identity))
elseif identity == '!' .. ARGV[1] and endings == ARGV[2] then
  redis.call('SET', KEYS[1], endings .. ' ' .. ARGV[1])
end
return {ms}
