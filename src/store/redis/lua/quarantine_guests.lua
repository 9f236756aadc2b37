-- End all leases, and keep every guest back until no token can live that nobody knows of.
--
-- KEYS  1 [hash]   pool
-- ARGV  1 [int]    how long a token lasts, ms
--       2 [int]    cool-down, ms
--       3 [int]    size
--
-- Returns {ms of the store's clock, until when they are kept back ms}.
assert(#KEYS == 1 and #ARGV == 3, 'quarantine_guests.lua takes 1 key and 3 arguments')

local kept = redis.call('HMGET', pool, 'fi', 'fl', 'un')
local floor = math.max(ms + 1 + ARGV[1] + ARGV[2], kept[1] or 0, kept[2] or 0)
redis.call('HSET', pool, 'd', ms + 1, 'q', ms + 1, 'fi', floor, 'fl', floor, 'un', math.max(kept[3] or 0, ARGV[3]))
return {ms, floor}
