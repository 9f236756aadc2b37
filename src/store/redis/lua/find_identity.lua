-- Look up which identity a subject has, how often its sessions were ended, and how new its claims are at a provider.
--
-- KEYS  1 [string] subject
--       2 [hash]   standing
-- ARGV  1 [string] provider, or empty for none
--
-- Returns {ms of the store's clock, the subject's endings and identity or nil, brief of its standing at the provider or nil}.
assert(#KEYS == 2 and #ARGV == 1, 'find_identity.lua takes 2 keys and 1 argument')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

return {ms, redis.call('GET', KEYS[1]), redis.call('HGET', KEYS[2], ARGV[1])}
