-- End all leases, and keep every guest back until no token can live that nobody knows of.
--
-- KEYS  1 [hash]   pool
-- ARGV  1 [int]    how long a token lasts, ms
--       2 [int]    cool-down, ms
--       3 [int]    size
--
-- Returns {ms of the store's clock, until when they are kept back ms}.
assert(#KEYS == 1 and #ARGV == 3, 'quarantine_guests.lua takes 1 key and 3 arguments')

local kept = redis.call('HMGET', pool, 'fi', 'fl', 'd', 'tt', 'tc', 'un')
local doubted = math.max(ms + 1, kept[3] or 0)
local floor = doubted + math.max(ARGV[1], kept[4] or 0) + math.max(ARGV[2], kept[5] or 0)
floor = math.max(floor, kept[1] or 0, kept[2] or 0)
redis.call('HSET', pool, 'd', doubted, 'q', doubted, 'dm', doubted, 'fi', floor, 'fl', floor,
  'un', math.max(ARGV[3], kept[6] or 0))
return {ms, floor}
