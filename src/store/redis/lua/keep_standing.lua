-- Keep what a login showed of a subject, whatever was known before.
--
-- KEYS  1 [hash] standing
-- ARGV  1 [string] issuer
--       2 [string] value of the subject claim
--       3 [string] provider
--       4 [string] claims
--       5 [string] verdict
--       6 [string] decision
--       7 [int]    how long it is kept at least, ms
--
-- Returns {ms of the store's clock}.
assert(#KEYS == 1 and #ARGV == 7, 'keep_standing.lua takes 1 key and 7 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

-- Later than the claims before, so that no two claims are named by the same moment.
local brief = redis.call('HGET', KEYS[1], ARGV[3])
local obtained = math.max(ms, brief and string.match(brief, '%d+$') + 1 or 0)
redis.call('HSET', KEYS[1], ':i', ARGV[1], ':v', ARGV[2], ARGV[3], string.format('%s %.0f', ARGV[5], obtained),
  ARGV[3] .. ':c', ARGV[4], ARGV[3] .. ':d', ARGV[6])
redis.call('PEXPIRE', KEYS[1], math.max(redis.call('PTTL', KEYS[1]), ARGV[7]))
return {ms}
