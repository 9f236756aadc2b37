-- Take a login for good.
--
-- KEYS  1 [hash] login
-- ARGV  1 [string] digest of the binding secret that the browser shows
--       2 [string] provider whose callback this is
--       3 [string] request id: a repeat with the same id answers the same
--       4 [int]    patience, ms: as long as a login is kept
--
-- Returns {ms of the store's clock, 'taken', where the browser goes afterwards, ms when the login was begun}, {ms, 'other_browser',
-- where that one goes}, or {ms, why not}.
-- The taken login stays until it would have been too old, so that nobody takes it again. The browser is asked about first:
-- another one learns nothing else.
assert(#KEYS == 1 and #ARGV == 4, 'take_login_once.lua takes 1 key and 4 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local login = redis.call('HMGET', KEYS[1], 'b', 'p', 'u', 'k')
if not login[1] then
  return {ms, 'unknown'}
elseif login[1] ~= ARGV[1] then
  return {ms, 'other_browser', login[3]}
elseif login[2] ~= ARGV[2] then
  return {ms, 'other_provider'}
elseif login[4] and login[4] ~= ARGV[3] then
  return {ms, 'already_taken'}
elseif not login[4] then
  redis.call('HSET', KEYS[1], 'k', ARGV[3])
end
-- What is left of its life tells when it began. Servers before 7.2 ask their clock anew for that: it may come out a millisecond early,
-- never late.
return {ms, 'taken', login[3], ms + redis.call('PTTL', KEYS[1]) - ARGV[4]}
