-- Take a session, to ask its provider about it.
--
-- KEYS  1 [hash]   session
--       2 [string] subject: how often its sessions were ended, and the identity it is bound to
--       3 [hash]   standing
--       4 [hash]   grants
-- ARGV  1 [string] request id: a repeat with the same id takes it anew
--       2 [int]    idle time, ms
--       3 [string] when the caller saw that the provider had been asked last, ms
--       4 [int]    hold: how long the caller may have it, ms
--       5 [string] id: what the session's key ends with
--
-- Returns {ms of the store's clock, 'yours', grant, ms when the claims at the provider were obtained}; {ms, 'anothers', ms until when
-- another has it}; {ms, 'paused', ms until when nobody asks}; {ms, 'done'} when the provider was asked since, or cannot be any more;
-- {ms, 'ended'} when the session is no more.
assert(#KEYS == 4 and #ARGV == 5, 'begin_revalidation.lua takes 4 keys and 5 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local kept = redis.call('HMGET', KEYS[1], 'e', 'l', 'c', 'p', 'v', 'w')
if not kept[1] or ms >= tonumber(kept[1]) or ms >= kept[2] + ARGV[2] then
  return {ms, 'ended'}
end
local subject = redis.call('GET', KEYS[2]) or ''
local brief = redis.call('HGET', KEYS[3], kept[4])
if not brief or string.sub(kept[3], -#subject - 1) ~= ' ' .. subject then
  return {ms, 'ended'}
end

if not kept[5] or string.match(kept[5], '^%d+') ~= ARGV[3] then
  return {ms, 'done'}
end
local holder, till = string.match(kept[6] or '', '^(%S+) (%d+)$')
if holder and holder ~= ARGV[1] and ms < tonumber(till) then
  return {ms, holder == '-' and 'paused' or 'anothers', tonumber(till)}
end
local grant = redis.call('HGET', KEYS[4], ARGV[5])
if not grant then
  -- Lost: nobody can ask with what is not there, and whoever uses the session is to know.
  redis.call('HDEL', KEYS[1], 'v')
  return {ms, 'done'}
end
redis.call('HSET', KEYS[1], 'w', string.format('%s %.0f', ARGV[1], ms + ARGV[4]))
return {ms, 'yours', grant, tonumber(string.match(brief, '%d+$'))}
