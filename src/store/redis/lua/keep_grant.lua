-- Keep what the provider gave, for whoever has the session to ask about it.
--
-- KEYS  1 [hash]   session
--       2 [string] subject: how often its sessions were ended, and the identity it is bound to
--       3 [hash]   standing
--       4 [hash]   grants
-- ARGV  1 [string] request id: the one that has the session
--       2 [string] id: what the session's key ends with
--       3 [string] grant, sealed
--
-- Returns {ms of the store's clock, 1}, or {ms, 0} when that request has it no more, or it is no more. How long its hold was does not
-- count while nobody else took it: a provider that was slow has given all the same.
assert(#KEYS == 4 and #ARGV == 3, 'keep_grant.lua takes 4 keys and 3 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local kept = redis.call('HMGET', KEYS[1], 'e', 'c', 'p', 'w')
if not kept[1] or ms >= tonumber(kept[1]) then
  return {ms, 0}
end
local holder, till = string.match(kept[4] or '', '^(%S+) (%d+)$')
if holder ~= ARGV[1] or till == '0' then
  return {ms, 0}
end
local subject = redis.call('GET', KEYS[2]) or ''
if redis.call('HEXISTS', KEYS[3], kept[3]) == 0 or string.sub(kept[2], -#subject - 1) ~= ' ' .. subject then
  return {ms, 0}
end
redis.call('HSET', KEYS[4], ARGV[2], ARGV[3])
redis.call('PEXPIRE', KEYS[4], math.max(redis.call('PTTL', KEYS[4]), kept[1] - ms))
return {ms, 1}
