-- Look whether the store has lost writes, and keep back what might have been lent unseen.
--
-- KEYS  1 [hash]   pool
-- ARGV  1 [string] request id: the pool's birth, if there is no pool
--       2 [string] the pool's birth, as the caller knows it; empty for a process that has seen none
--       3 [string] the history in which the caller looked last
--       4 [int]    when that was, ms
--       5 [int]    a month that the caller knows of
--       6 [int]    how many guests were active in it, as far as the caller knows
--       7 [int]    how long an unconfirmed token lasts, ms
--       8 [int]    how long a token lasts, ms
--       9 [int]    cool-down, ms
--      10 [int]    size
--      11 [int]    how much may be lost before lends may be that made long tokens, ms
--      12 [int]    the largest size that any pool can have
--
-- Returns {ms of the store's clock, birth, history, when was looked ms, when writes were last found to be lost ms or 0, month, how many are active in it}.
-- Each look leaves its time in the pool. So it tells how much a history lacks that begins with it: what somebody knows to have been there
-- later was lost. Who knows nothing of before goes by how long ago that was, unless the server kept a log of its writes.
assert(#KEYS == 1 and #ARGV == 12, 'heed_doubt.lua takes 1 key and 12 arguments')

local kept = redis.call('HMGET', pool, 'b', 'id', 'run', 'at', 'was', 'd', 'fi', 'fl', 'un', 'n', 'q', 'll', 'dm')
local doubted, seen = tonumber(kept[6] or 0), tonumber(kept[4] or 0)
local knows, known_history, known_seen, most_lost = ARGV[2] ~= '', ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[11])

-- Whoever looks first records a doubt for all, also a process that lends for shorter times: the longest there ever were count.
local longest, longer = redis.call('HMGET', pool, 'tf', 'tt', 'tc', 'ts'), false
for place, field in ipairs({'tf', 'tt', 'tc', 'ts'}) do
  local told = tonumber(ARGV[6 + place])
  longest[place] = tonumber(longest[place] or 0)
  if told > longest[place] then
    longest[place], longer = told, true
    redis.call('HSET', pool, field, told)
  end
end
local first, token, cooldown, size = unpack(longest)

local replication = redis.call('INFO', 'replication')
local now = string.match(replication, 'master_replid:(%x+)')
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local lost, moved = knows and kept[1] ~= ARGV[2], kept[1] and kept[2] ~= now
if not kept[1] then
  kept[1] = ARGV[1]
  redis.call('HSET', pool, 'b', kept[1], 'id', now, 'run', run, 'was', 0)
elseif moved then
  redis.call('HSET', pool, 'id', now, 'run', run, 'was', seen)
  -- A server that gets its first replica, or has had none for long, calls its history by another name, and by none before it.
  if kept[3] == run and string.find(replication, 'master_replid2:0+\r') then
    moved = false
  elseif knows and known_history == kept[2] then
    lost = lost or known_seen - seen > most_lost
  else
    local logged = string.find(redis.call('INFO', 'persistence'), 'aof_enabled:1', 1, true)
    lost = lost or ms - seen > most_lost and not logged
  end
elseif knows and known_history ~= now then
  -- Somebody else was first to look, who may have known less.
  lost = lost or known_seen - tonumber(kept[5] or 0) > most_lost
end
if kept[12] == now then
  -- That this history lacks something was found before, for all.
  lost = false
end

if lost or moved then
  -- The former server's clock may have been ahead of this one's, and it may take writes for a while yet that nobody will find here.
  doubted = math.max(ms, seen, known_seen) + most_lost + 1
  kept[13] = ms
  redis.call('HSET', pool, 'd', doubted, 'dm', ms)
  if lost then
    kept[11] = doubted
    redis.call('HSET', pool, 'q', doubted, 'll', now)
  end
end
if lost or moved or longer and doubted > 0 then
  local all = tonumber(kept[11] or 0) == doubted
  local unseen = all and token or math.min(first, token)
  redis.call('HSET', pool, 'fi', math.max(kept[7] or 0, doubted + unseen + cooldown),
    'fl', math.max(kept[8] or 0, doubted + token + cooldown),
    'un', lost and ARGV[12] or math.max(kept[9] or 0, size, (kept[10] or 1) - 1))
end
if knows and (kept[1] ~= ARGV[2] or known_history ~= now)
  and tonumber(ARGV[6]) > tonumber(redis.call('HGET', pool, 'a' .. ARGV[5]) or 0) then
  redis.call('HSET', pool, 'a' .. ARGV[5], ARGV[6])
end
seen = math.max(seen, ms)
redis.call('HSET', pool, 'at', seen)
local month = month_of(ms)
return {ms, kept[1], now, seen, tonumber(kept[13] or 0), month, tonumber(redis.call('HGET', pool, 'a' .. month) or 0)}
