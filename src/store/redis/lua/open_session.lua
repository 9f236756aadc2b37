-- Open a session, bind its subject to an identity if it has none, and keep what the login showed.
--
-- KEYS  1 [hash]   session
--       2 [string] subject: the identity it is bound to
--       3 [hash]   standing
-- ARGV  1 [string] identity
--       2 [int]    1 when the caller found the subject bound to it, 0 when it has claimed the identity just now
--       3 [int]    when the caller was told so, ms
--       4 [int]    lifetime, ms
--       5 [int]    idle time, ms
--       6 [string] issuer
--       7 [string] value of the subject claim
--       8 [string] provider
--       9 [string] claims
--      10 [string] verdict
--      11 [string] decision
--      12 [int]    how long the standing is kept at least, ms
--
-- Returns {ms of the store's clock, 1, card, provider, last used ms, ends ms}; {ms, 0} when the subject's sessions were ended since
-- the caller was told, or it is bound to another identity, or to none any more.
-- A session that is there already stays as it is, ended or not: a repeat that comes late brings nothing back.
assert(#KEYS == 3 and #ARGV == 12, 'open_session.lua takes 3 keys and 12 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local kept = redis.call('HMGET', KEYS[1], 'c', 'p', 'l', 'e', 'z')
if kept[1] then
  return {ms, 1, kept[1], kept[2], tonumber(kept[3]), tonumber(kept[4] or kept[5])}
end

local standing = redis.call('HMGET', KEYS[3], ':e', ARGV[8])
local begun_before = tonumber(standing[1] or 0)
local bound = redis.call('GET', KEYS[2])
local is_as_seen = bound == ARGV[1] or (not bound and ARGV[2] == '0')
if not is_as_seen or tonumber(ARGV[3]) < begun_before then
  return {ms, 0}
end
if not bound then
  redis.call('SET', KEYS[2], ARGV[1])
end

-- Not before the last ending, which may be in this very millisecond: it would be over from the start.
local since = math.max(ms, begun_before)
local ends = ms + ARGV[4]
local card = string.format('%.0f %s', since, ARGV[1])
redis.call('HSET', KEYS[1], 'e', ends, 'c', card, 'p', ARGV[8], 'l', ms)
redis.call('PEXPIREAT', KEYS[1], math.min(ends, ms + ARGV[5]))

-- Later than the claims before, so that no two claims are named by the same moment.
local obtained = math.max(ms, standing[2] and string.match(standing[2], '%d+$') + 1 or 0)
redis.call('HSET', KEYS[3], ':i', ARGV[6], ':v', ARGV[7], ARGV[8], string.format('%s %.0f', ARGV[10], obtained),
  ARGV[8] .. ':c', ARGV[9], ARGV[8] .. ':d', ARGV[11])
redis.call('PEXPIRE', KEYS[3], math.max(redis.call('PTTL', KEYS[3]), ARGV[12], ARGV[4]))
return {ms, 1, card, ARGV[8], ms, ends}
