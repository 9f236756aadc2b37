-- Look at all sessions of a subject, for one of them, without using any.
--
-- KEYS  1 [hash]   session that asks
--       2 [string] subject: how often its sessions were ended, and the identity it is bound to
--       3 [hash]   standing
--       4 [zset]   devices: the subject's sessions
-- ARGV  1 [int]    idle time, ms
--       2 [string] id: what the key of the session that asks ends with
--
-- Returns {ms of the store's clock, 1, then for each that lives: id, card, provider, last used ms, ends ms, asked or nil, label}, or {ms, 0}
-- when the one that asks is no more. What is gone is taken out of the devices.
assert(#KEYS == 4 and #ARGV == 2, 'list_sessions.lua takes 4 keys and 2 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local subject = ' ' .. (redis.call('GET', KEYS[2]) or '')
local standings = {}
local function lives(kept)
  local ends = tonumber(kept[4])
  if not ends or ms >= ends or ms >= kept[3] + ARGV[1] or string.sub(kept[1], -#subject) ~= subject then
    return false
  end
  local provider = kept[2]
  standings[provider] = standings[provider] or redis.call('HEXISTS', KEYS[3], provider)
  return standings[provider] == 1
end
local function look(key)
  return redis.call('HMGET', key, 'c', 'p', 'l', 'e', 'v', 'd')
end

if not lives(look(KEYS[1])) then
  return {ms, 0}
end
local stem = string.sub(KEYS[1], 1, -#ARGV[2] - 1)
local answer = {ms, 1}
for _, id in ipairs(redis.call('ZRANGE', KEYS[4], 0, -1)) do
  local kept = look(stem .. id)
  if lives(kept) then
    local at = #answer
    answer[at + 1], answer[at + 2], answer[at + 3] = id, kept[1], kept[2]
    answer[at + 4], answer[at + 5] = tonumber(kept[3]), tonumber(kept[4])
    answer[at + 6], answer[at + 7] = kept[5], kept[6] or ''
  elseif not kept[4] then
    redis.call('ZREM', KEYS[4], id)
  end
end
return answer
