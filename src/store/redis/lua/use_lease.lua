-- Renew leases, and take the tokens that are minted on the answer into account: all that are used at once.
--
-- KEYS  1 [hash]   pool
--       2 [hash]   first guest; then each other
-- ARGV  1 [string] the pool's birth, as the caller knows it
--       2 [string] t for a token, which confirms; r to have the guest again
--       3 [int]    how long an unconfirmed lease and its token last, ms
--       4 [int]    how long a confirmed lease lasts, ms
--       5 [int]    how long a token lasts, ms
--       6 [int]    how long one holder may stay, ms
--       7 [int]    cool-down, ms
--       8 [int]    how old a lease is before its tokens last longer than the first, ms
--       9 [int]    what is too little to be of use, ms
--      10 [int]    interval between two uses, µs; 0 for no limit
--      11 [int]    burst: interval times count, µs
--      12 [string] of the first guest: request id, a repeat right after is not counted again
--      13 [string] digest of the holder's secret; then both of each other guest
--
-- Returns {ms of the store's clock, four numbers for each guest}: {1, since ms, ends ms, token ends ms}; {2, µs until it may be used again, 0, 0};
-- {0, 0, 0, 0} when it is over. {ms, 3} when the caller has to heed a doubt first.
-- Ends are written a 128th ahead, so that most tokens of a busy holder write nothing.
assert(#KEYS > 1 and #ARGV == 9 + 2 * #KEYS, 'use_lease.lua takes 2 keys and 13 arguments, and as many more as there are guests')

local known = redis.call('HMGET', pool, 'b', 'id', 'q')
if known[1] ~= ARGV[1] or not is_history(known[2]) then
  return {ms, 3}
end
local returns, first, confirmed_length, token_length = ARGV[2] == 'r', tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local cooldown, settled, shortest = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local is_limited, ended_before = ARGV[10] ~= '0', tonumber(known[3] or 0)

local function use(record, request, id)
  local kept = redis.call('HMGET', record, 'i', 's', 'e', 'x', 'c', 'g', 'u', 'r', 't', 'b', 'a')
  local since = tonumber(kept[2])
  if kept[1] ~= id or kept[6] or since < ended_before then
    return 0, 0, 0, 0
  end
  local ends, token_ends = tonumber(kept[3]), tonumber(kept[4])
  local lives = ms < ends
  if not lives and (not returns or kept[7] or ms >= tonumber(kept[10])) then
    return 0, 0, 0, 0
  end
  local latest = since + ARGV[6]
  if latest - ms < shortest then
    return 0, 0, 0, 0
  end
  if lives and kept[8] == request then
    return 1, since, ends, token_ends
  end

  local changes = {}
  if is_limited then
    local untouched = math.max(kept[9] or 0, us) + ARGV[10]
    local wait = untouched - us - ARGV[11]
    if wait > 0 then
      return 2, wait, 0, 0
    end
    changes = {'t', untouched, 'r', request}
  end
  local function change(field, value)
    changes[#changes + 1] = field
    changes[#changes + 1] = value
  end

  local confirmed = kept[5] or not returns
  local length = confirmed and confirmed_length or first
  local grain = math.floor(length / 128)
  local later = math.min(ms + length, latest)
  local renewed = later > ends + grain or (later > ends and ends - ms < shortest) or not lives
  if renewed then
    ends = later
    change('e', ends)
    change('b', ends + cooldown)
  end
  if confirmed and not kept[5] then
    change('c', '1')
  end
  length = token_length
  if not confirmed or ms - since < settled then
    length = math.min(length, first)
  end
  local token = math.min(ms + length, ends)
  if token - ms < shortest then
    return 0, 0, 0, 0
  end
  if token > token_ends then
    token_ends = math.min(ms + length + math.floor(length / 128), ends)
    local active, last = tonumber(kept[11]), month_of(token_ends)
    for month = math.max(active + 1, month_of(ms)), last do
      redis.call('HINCRBY', pool, 'a' .. month, 1)
    end
    change('x', token_ends)
    change('a', math.max(active, last))
  end
  if #changes > 0 then
    if not is_limited then
      change('r', request)
    end
    redis.call('HSET', record, unpack(changes))
    local guest = string.match(record, '%d+$')
    if renewed then
      redis.call('ZADD', at('busy'), ends + cooldown, guest)
    end
    if not lives and redis.call('ZSCORE', at('joins'), guest) then
      -- What its lease was too short for.
      redis.call('ZADD', at('joins'), ms, guest)
    end
  end
  return 1, since, ends, token
end

local answer = {ms}
for place = 2, #KEYS do
  local outcome, one, two, three = use(KEYS[place], ARGV[8 + 2 * place], ARGV[9 + 2 * place])
  local last = #answer
  answer[last + 1], answer[last + 2], answer[last + 3], answer[last + 4] = outcome, one, two, three
end
return answer
