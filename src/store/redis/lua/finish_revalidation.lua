-- Write what the provider said about a session, and leave the session to others.
--
-- KEYS  1 [hash]   session
--       2 [string] subject: how often its sessions were ended, and the identity it is bound to
--       3 [hash]   standing
-- ARGV  1 [string] request id: the one that has the session; a repeat with the same id answers the same
--       2 [string] when the provider was asked, and how it can be the next time; empty when it cannot
--   and unless the claims stay as they were
--       3 [string] when the claims were obtained that the caller found at the provider, ms; empty when there were none
--       4 [string] issuer
--       5 [string] value of the subject claim
--       6 [string] provider
--       7 [string] claims
--       8 [string] verdict
--       9 [string] decision
--      10 [int]    how long the standing is kept at least, ms
--
-- Returns {ms of the store's clock, 1}, or {ms, 0} when that request has the session no more, or it is no more: then nothing is
-- written. Other claims than those that were found stay when they are denied: these may be the older ones.
assert(#KEYS == 3 and (#ARGV == 2 or #ARGV == 10), 'finish_revalidation.lua takes 3 keys and 2 or 10 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local kept = redis.call('HMGET', KEYS[1], 'e', 'c', 'p', 'w', 'v')
if not kept[1] or ms >= tonumber(kept[1]) then
  return {ms, 0}
end
local subject = redis.call('GET', KEYS[2]) or ''
if redis.call('HEXISTS', KEYS[3], kept[3]) == 0 or string.sub(kept[2], -#subject - 1) ~= ' ' .. subject then
  return {ms, 0}
end
local holder, till = string.match(kept[4] or '', '^(%S+) (%d+)$')
-- Nobody else asked at the same moment, for that would have been under this request's hold: a moment that is there is its own.
if holder == ARGV[1] and till == '0' or not holder and kept[5] == ARGV[2] then
  return {ms, 1}
elseif holder ~= ARGV[1] then
  return {ms, 0}
end

if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], 'v')
  redis.call('HSET', KEYS[1], 'w', ARGV[1] .. ' 0')
else
  redis.call('HSET', KEYS[1], 'v', ARGV[2])
  redis.call('HDEL', KEYS[1], 'w')
end
if #ARGV == 2 then
  return {ms, 1}
end
local obtained = ms
local brief = redis.call('HGET', KEYS[3], ARGV[6])
if brief then
  local outcome, before = string.match(brief, '^%S+ (%a)%S* (%d+)$')
  if before ~= ARGV[3] and outcome == 'd' then
    return {ms, 1}
  end
  -- Later than the claims before, so that no two claims are named by the same moment.
  obtained = math.max(ms, before + 1)
end
redis.call('HSET', KEYS[3], ':i', ARGV[4], ':v', ARGV[5], ARGV[6], string.format('%s %.0f', ARGV[8], obtained),
  ARGV[6] .. ':c', ARGV[7], ARGV[6] .. ':d', ARGV[9])
redis.call('PEXPIRE', KEYS[3], math.max(redis.call('PTTL', KEYS[3]), ARGV[10]))
return {ms, 1}
