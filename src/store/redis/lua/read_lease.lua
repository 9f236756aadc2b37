-- Look at a lease.
--
-- KEYS  1 [hash]   pool
--       2 [hash]   guest
-- ARGV  1 [string] digest of the holder's secret
--
-- Returns {ms of the store's clock, 1, since ms, ends ms, token ends ms}, or {ms, 0} when it is over.
assert(#KEYS == 2 and #ARGV == 1, 'read_lease.lua takes 2 keys and 1 argument')

local kept = redis.call('HMGET', KEYS[2], 'i', 's', 'e', 'x', 'g')
if kept[1] ~= ARGV[1] or kept[5] or ms >= tonumber(kept[3]) then
  return {ms, 0}
end
if tonumber(kept[2]) < tonumber(redis.call('HGET', pool, 'q') or 0) then
  return {ms, 0}
end
return {ms, 1, tonumber(kept[2]), tonumber(kept[3]), tonumber(kept[4])}
