-- Renew a lease, and take the token that is minted on the answer into account.
--
-- KEYS  1 [hash]   pool
--       2 [hash]   guest
-- ARGV  1 [string] request id: a repeat right after is not counted again
--       2 [string] digest of the holder's secret
--       3 [string] the pool's birth, as the caller knows it
--       4 [int]    guest
--       5 [string] t for a token, which confirms; r to have the guest again
--       6 [int]    how long an unconfirmed lease and its token last, ms
--       7 [int]    how long a confirmed lease lasts, ms
--       8 [int]    how long a token lasts, ms
--       9 [int]    how long one holder may stay, ms
--      10 [int]    cool-down, ms
--      11 [int]    how old a lease is before its tokens last longer than the first, ms
--      12 [int]    what is too little to be of use, ms
--      13 [int]    interval between two uses, µs; 0 for no limit
--      14 [int]    burst: interval times count, µs
--
-- Returns {ms of the store's clock, 1, since ms, ends ms, token ends ms}; {ms, 2, µs until it may be used again}; {ms, 0} when it is over; {ms, 3}
-- when the caller has to heed a doubt first.
-- Ends are written a 128th ahead, so that most tokens of a busy holder write nothing.
assert(#KEYS == 2 and #ARGV == 14, 'use_lease.lua takes 2 keys and 14 arguments')

local known = redis.call('HMGET', pool, 'b', 'id', 'q')
if known[1] ~= ARGV[3] or known[2] ~= history() then
  return {ms, 3}
end
local kept = redis.call('HMGET', KEYS[2], 'i', 's', 'e', 'x', 'c', 'g', 'u', 'r', 't', 'b', 'a')
if kept[1] ~= ARGV[2] or kept[6] or tonumber(kept[2]) < tonumber(known[3] or 0) then
  return {ms, 0}
end
local since, ends, token_ends = tonumber(kept[2]), tonumber(kept[3]), tonumber(kept[4])
local lives = ms < ends
if not lives and (ARGV[5] ~= 'r' or kept[7] or ms >= tonumber(kept[10])) then
  return {ms, 0}
end
local latest, shortest = since + ARGV[9], tonumber(ARGV[12])
if latest - ms < shortest then
  return {ms, 0}
end
if lives and kept[8] == ARGV[1] then
  return {ms, 1, since, ends, token_ends}
end

local changes = {}
if ARGV[13] ~= '0' then
  local untouched = math.max(kept[9] or 0, us) + ARGV[13]
  local wait = untouched - us - ARGV[14]
  if wait > 0 then
    return {ms, 2, wait}
  end
  changes = {'t', untouched, 'r', ARGV[1]}
end
local function change(field, value)
  changes[#changes + 1] = field
  changes[#changes + 1] = value
end

local confirmed = kept[5] or ARGV[5] == 't'
local length = tonumber(confirmed and ARGV[7] or ARGV[6])
local grain = math.floor(length / 128)
local later = math.min(ms + length, latest)
if later > ends + grain or (later > ends and ends - ms < shortest) or not lives then
  ends = later
  change('e', ends)
  change('b', ends + ARGV[10])
end
if confirmed and not kept[5] then
  change('c', '1')
end
length = tonumber(ARGV[8])
if not confirmed or ms - since < tonumber(ARGV[11]) then
  length = math.min(length, ARGV[6])
end
local token = math.min(ms + length, ends)
if token - ms < shortest then
  return {ms, 0}
end
if token > token_ends then
  token_ends = math.min(ms + length + math.floor(length / 128), ends)
  change('x', token_ends)
  change('a', count(tonumber(kept[11]), month_of(ms), month_of(token_ends)))
end
if #changes > 0 then
  if ARGV[13] == '0' then
    change('r', ARGV[1])
  end
  redis.call('HSET', KEYS[2], unpack(changes))
  if ends ~= tonumber(kept[3]) then
    redis.call('ZADD', at('busy'), ends + ARGV[10], ARGV[4])
  end
  if not lives and redis.call('ZSCORE', at('joins'), ARGV[4]) then
    -- What its lease was too short for.
    redis.call('ZADD', at('joins'), ms, ARGV[4])
  end
end
return {ms, 1, since, ends, token}
