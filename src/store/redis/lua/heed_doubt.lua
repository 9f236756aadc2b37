-- Look whether the store has lost writes, and keep back what might have been lent unseen.
--
-- KEYS  1 [hash]   pool
-- ARGV  1 [string] request id: the pool's birth, if there is no pool
--       2 [string] the pool's birth, as the caller knows it; empty for a process that has seen none
--       3 [int]    a month that the caller knows of
--       4 [int]    how many guests were active in it, as far as the caller knows
--       5 [int]    how long an unconfirmed token lasts, ms
--       6 [int]    how long a token lasts, ms
--       7 [int]    cool-down, ms
--       8 [int]    size
--
-- Returns {ms of the store's clock, birth, when writes were last found to be lost ms or 0, month, how many are active in it}.
-- A replica that has become the master, and a server that starts again with its log of writes, have lost the last moment at most: a lend
-- that is lost in it has made short tokens only. All else may have lost anything, so that also the leases that are there end.
assert(#KEYS == 1 and #ARGV == 8, 'heed_doubt.lua takes 1 key and 8 arguments')

local kept = redis.call('HMGET', pool, 'b', 'id', 'd', 'fi', 'fl', 'un', 'n')
-- Whoever looks first records a doubt for all, also a process that lends for shorter times, or not at all: the longest there ever were count.
local longest = redis.call('HMGET', pool, 'tf', 'tt', 'tc', 'ts')
for place, field in ipairs({'tf', 'tt', 'tc', 'ts'}) do
  local told = tonumber(ARGV[4 + place])
  longest[place] = tonumber(longest[place] or 0)
  if told > longest[place] then
    longest[place] = told
    redis.call('HSET', pool, field, ARGV[4 + place])
  end
end
local first, token, cooldown, size = unpack(longest)
local now = history()
local lost = ARGV[2] ~= '' and kept[1] ~= ARGV[2]
local moved = kept[1] and kept[2] ~= now
if moved then
  local promoted = string.find(redis.call('INFO', 'replication'), 'master_replid2:' .. kept[2], 1, true)
  local logged = string.find(redis.call('INFO', 'persistence'), 'aof_enabled:1', 1, true)
  lost = lost or not (promoted or logged)
end
if not kept[1] then
  redis.call('HSET', pool, 'b', ARGV[1], 'id', now)
  kept[1] = ARGV[1]
end
local doubted = tonumber(kept[3] or 0)
if lost or moved then
  doubted = ms + 1
  local unseen = lost and token or math.min(first, token)
  redis.call('HSET', pool, 'id', now, 'd', doubted,
    'fi', math.max(kept[4] or 0, doubted + unseen + cooldown), 'fl', math.max(kept[5] or 0, doubted + token + cooldown),
    'un', math.max(kept[6] or 0, size, (kept[7] or 1) - 1))
  if lost then
    redis.call('HSET', pool, 'q', doubted)
  end
  if tonumber(ARGV[4]) > tonumber(redis.call('HGET', pool, 'a' .. ARGV[3]) or 0) then
    redis.call('HSET', pool, 'a' .. ARGV[3], ARGV[4])
  end
end
local month = month_of(ms)
return {ms, kept[1], doubted, month, tonumber(redis.call('HGET', pool, 'a' .. month) or 0)}
