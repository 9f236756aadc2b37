-- Look at what is remembered of a subject at a provider.
--
-- KEYS  1 [hash] standing
-- ARGV  1 [string] provider
--
-- Returns {ms of the store's clock, brief, claims, decision, issuer, value of the subject claim}, or {ms} when it is nothing.
assert(#KEYS == 1 and #ARGV == 1, 'read_standing.lua takes 1 key and 1 argument')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local kept = redis.call('HMGET', KEYS[1], ARGV[1], ARGV[1] .. ':c', ARGV[1] .. ':d', ':i', ':v')
if not kept[1] then
  return {ms}
end
return {ms, unpack(kept)}
