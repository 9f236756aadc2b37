-- Open a session, bind its subject to an identity if it has none, and keep what the login showed.
--
-- KEYS  1 [hash]   session
--       2 [string] subject: how often its sessions were ended, and the identity it is bound to
--       3 [hash]   standing
--       4 [zset]   devices: the subject's sessions
--       5 [hash]   grants
--       6 [zset]   logouts: what was logged out when
-- ARGV  1 [string] what the caller found in the subject's key
--       2 [string] what is to be there: the same endings, and the identity
--       3 [string] when the claims were obtained that the caller found at the provider, ms; empty when there were none
--       4 [int]    lifetime, ms
--       5 [int]    idle time, ms
--       6 [string] issuer
--       7 [string] value of the subject claim
--       8 [string] provider
--       9 [string] claims
--      10 [string] verdict
--      11 [string] decision
--      12 [int]    how long the standing is kept at least, ms
--      13 [string] id: what the session's key ends with
--      14 [string] label
--      15 [int]    how many sessions the subject may have, this one among them
--      16 [int]    how long an ended session stays as a tombstone, ms
--      17 [int]    when the login began, ms
--      18 [string] handle of the provider's sid; empty when there is none
--      19 [string] how the provider can be asked again: r, or until when by userinfo, ms; empty when it cannot
--      20 [string] grant, sealed; empty when there is none
--
-- Returns {ms of the store's clock, 1, card, provider, last used ms, ends ms, asked or nil}; {ms, 0} when since the caller looked the
-- subject's sessions were ended, or it was bound to another identity, or to none any more, or other claims at the provider were
-- denied; and when its identity is blocked; {ms, 2} when the subject was logged out since the login began, or the sid at any time.
-- A session that is there already stays as it is, ended or not: a repeat that comes late brings nothing back. Of the devices
-- eight at most are looked at, those that would be over by now had they not been used: so the zset stays about as long as there are
-- sessions, and is never gone through here.
assert(#KEYS == 6 and #ARGV == 20, 'open_session.lua takes 6 keys and 20 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local kept = redis.call('HMGET', KEYS[1], 'c', 'p', 'l', 'e', 'z', 'v')
if kept[1] then
  return {ms, 1, kept[1], kept[2], tonumber(kept[3]), tonumber(kept[4] or kept[5]), kept[6]}
end

local sid, begun = ARGV[18], tonumber(ARGV[17])
local function logged_out(what, since)
  local at = redis.call('ZSCORE', KEYS[6], what)
  return at and tonumber(at) >= since
end
if logged_out('*', begun) or (sid == '' and logged_out('-', begun)) or (sid ~= '' and logged_out(sid, 0)) then
  return {ms, 2}
end

local subject = redis.call('GET', KEYS[2]) or '0 '
if subject ~= ARGV[1] and subject ~= ARGV[2] or string.find(subject, '!', 1, true) then
  return {ms, 0}
end
local obtained = ms
local brief = redis.call('HGET', KEYS[3], ARGV[8])
if brief then
  local outcome, before = string.match(brief, '^%S+ (%a)%S* (%d+)$')
  if before ~= ARGV[3] and outcome == 'd' then
    return {ms, 0}
  end
  -- Later than the claims before, so that no two claims are named by the same moment.
  obtained = math.max(ms, before + 1)
end
if subject ~= ARGV[2] then
  redis.call('SET', KEYS[2], ARGV[2])
end

local stem = string.sub(KEYS[1], 1, -#ARGV[13] - 1)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', ms, 'LIMIT', 0, 8)) do
  local left = redis.call('PTTL', stem .. id)
  if left > 0 then
    redis.call('ZADD', KEYS[4], ms + left, id)
  else
    redis.call('ZREM', KEYS[4], id)
  end
end
while redis.call('ZCARD', KEYS[4]) >= tonumber(ARGV[15]) do
  local first = stem .. redis.call('ZPOPMIN', KEYS[4])[1]
  local ends = redis.call('HGET', first, 'e')
  if ends then
    redis.call('HSET', first, 'x', ARGV[13], 'z', ends)
    redis.call('HDEL', first, 'e')
    redis.call('PEXPIRE', first, ARGV[16])
  end
end

local ends = ms + ARGV[4]
local over = math.min(ends, ms + ARGV[5])
local card = string.format('%.0f %s', ms, ARGV[2])
redis.call('HSET', KEYS[1], 'e', ends, 'c', card, 'p', ARGV[8], 'l', ms, 'd', ARGV[14])
local way = ARGV[19]
local asked = way ~= '' and string.format('%.0f', ms) .. (way == 'r' and '' or ' ' .. way)
if asked then
  redis.call('HSET', KEYS[1], 'v', asked)
end
if sid ~= '' then
  redis.call('HSET', KEYS[1], 's', sid)
end
if ARGV[20] ~= '' then
  redis.call('HSET', KEYS[5], ARGV[13], ARGV[20])
  redis.call('PEXPIRE', KEYS[5], math.max(redis.call('PTTL', KEYS[5]), ARGV[4]))
end
redis.call('PEXPIREAT', KEYS[1], over)
redis.call('ZADD', KEYS[4], over, ARGV[13])
redis.call('PEXPIRE', KEYS[4], math.max(redis.call('PTTL', KEYS[4]), ARGV[4]))
redis.call('HSET', KEYS[3], ':i', ARGV[6], ':v', ARGV[7], ARGV[8], string.format('%s %.0f', ARGV[10], obtained),
  ARGV[8] .. ':c', ARGV[9], ARGV[8] .. ':d', ARGV[11])
redis.call('PEXPIRE', KEYS[3], math.max(redis.call('PTTL', KEYS[3]), ARGV[12], ARGV[4]))
return {ms, 1, card, ARGV[8], ms, ends, asked}
