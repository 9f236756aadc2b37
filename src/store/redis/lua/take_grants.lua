-- Take the grants of a subject's sessions that are no more.
--
-- KEYS  1 [string] subject: how often its sessions were ended, and the identity it is bound to
--       2 [hash]   grants
-- ARGV  1 [string] what the keys of the subject's sessions begin with; the ids among the grants complete them
--
-- Returns {ms of the store's clock, how many of the sessions with a grant live, of each the handle of its sid or nothing, then for
-- each that is no more: id, grant}. Those are taken out: another look finds them no more.
assert(#KEYS == 2 and #ARGV == 1, 'take_grants.lua takes 2 keys and 1 argument')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local subject = ' ' .. (redis.call('GET', KEYS[1]) or '')
local living, taken = {}, {}
for _, id in ipairs(redis.call('HKEYS', KEYS[2])) do
  local kept = redis.call('HMGET', ARGV[1] .. id, 'e', 'c', 's')
  if not kept[1] or ms >= tonumber(kept[1]) or string.sub(kept[2], -#subject) ~= subject then
    taken[#taken + 1] = id
    taken[#taken + 1] = redis.call('HGET', KEYS[2], id)
    redis.call('HDEL', KEYS[2], id)
  else
    living[#living + 1] = kept[3] or ''
  end
end
local answer = {ms, #living}
for _, part in ipairs(living) do
  answer[#answer + 1] = part
end
for _, part in ipairs(taken) do
  answer[#answer + 1] = part
end
return answer
