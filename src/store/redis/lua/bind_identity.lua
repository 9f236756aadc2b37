-- Bind a subject to the identity that was claimed for it.
--
-- KEYS  1 [string] subject: how often its sessions were ended, and the identity it is bound to
-- ARGV  1 [string] what the caller found there
--       2 [string] what is to be there: the same endings, and the identity
--
-- Returns {ms of the store's clock, 1 when that is there, now or since before, 0 when there is something else than was found, or a
-- blocked identity}.
assert(#KEYS == 1 and #ARGV == 2, 'bind_identity.lua takes 1 key and 2 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local subject = redis.call('GET', KEYS[1]) or '0 '
if subject == ARGV[2] then
  return {ms, 1}
elseif subject ~= ARGV[1] or string.find(subject, '!', 1, true) then
  return {ms, 0}
end
redis.call('SET', KEYS[1], ARGV[2])
return {ms, 1}
