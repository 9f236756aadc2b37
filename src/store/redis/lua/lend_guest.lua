-- Lend guests to new holders: to all who ask at once.
--
-- KEYS  1 [hash]   pool
-- ARGV  1 [string] request id: a repeat gets the same guests
--       2 [string] the pool's birth, as the caller knows it
--       3 [int]    size
--       4 [string] how many guests may be active in the month; empty for all
--       5 [int]    how long a lease and its token last, ms
--       6 [int]    cool-down, ms
--       7 [string] 1 when the guests are to be taken into conversations
--       8 [int]    how long a repeat may come, ms
--       9 [int]    how much of a month has to be left for a stale guest to be paid for in it, ms
--      10 [int]    for how long one that is wanted keeps another from being wanted, ms
--      11 [string] digest of the first holder's secret; then of each other's
--
-- Returns {ms of the store's clock, 1, 0, since ms, ends ms, a guest for each holder in their order}. When there are fewer guests, those who
-- come away empty have {.., 0, ms to wait, ..}, or {.., 2, ms to wait, ..} when there is one, and the budget does not allow it. {ms, 3} when the
-- caller has to heed a doubt first.
-- What is idle is kept by the month in which it was active last, by when it was seen clean. So the sets are as many as the months, and
-- each look is one at the first of a set, whatever the pool's size. What was put aside keeps its month too.
assert(#KEYS == 1 and #ARGV > 10, 'lend_guest.lua takes 1 key and more than 10 arguments')

local month = month_of(ms)
local kept = redis.call('HMGET', pool, 'b', 'id', 'n', 'd', 'fi', 'un', 'a' .. month)
if kept[1] ~= ARGV[2] or not is_history(kept[2]) then
  return {ms, 3}
end
local repeated = redis.call('GET', at('lend:' .. ARGV[1]))
if repeated then
  local answer = cmsgpack.unpack(repeated)
  answer[1] = ms
  return answer
end

local size, next_new, asked = tonumber(ARGV[3]), tonumber(kept[3] or 1), #ARGV - 10
local doubted, floor, unsure = kept[4] or 0, tonumber(kept[5] or 0), tonumber(kept[6] or 0)
-- How many more guests may become active this month.
local room = ARGV[4] == '' and math.huge or ARGV[4] - (kept[7] or 0)

-- What was found to have nothing to lend is not looked at again.
local looks, emptied = 64, {}
-- The guest of a month's set that is idle longest, and the set. Those beyond the size are put aside until it grows.
local function first_of(last)
  local set = at('idle:' .. last)
  while looks > 0 and not emptied[set] do
    local guest = redis.call('ZRANGEBYSCORE', set, doubted, '+inf', 'LIMIT', 0, 1)[1]
    if not guest then
      emptied[set] = true
    elseif tonumber(guest) <= size then
      return guest, set
    else
      looks = looks - 1
      redis.call('ZREM', set, guest)
      redis.call('ZADD', at('retired'), last * NUMBERS + guest, guest)
    end
  end
end
-- The guest to be lent next, the set that it is in, if it is in one, and the last month in which it was active.
local months, aside, aside_last
local function choose()
  local guest, set = first_of(month)
  if guest or looks == 0 or ms < floor then
    return guest, set, month
  end
  if aside == nil then
    -- One that was put aside before a doubt is as doubtful as one that was never lent.
    aside, aside_last = find_aside(0, month, unsure + 1, size)
    aside = aside or false
  end
  if aside and aside_last == month then
    return aside, at('retired'), month
  end
  months = months or redis.call('ZRANGE', at('months'), 0, -1)
  while months[1] and tonumber(months[1]) < month do
    guest, set = first_of(months[1])
    if guest or looks == 0 then
      return guest, set, tonumber(months[1])
    end
    set = at('idle:' .. months[1])
    if redis.call('EXISTS', set) == 0 then
      redis.call('ZREM', at('months'), months[1])
    end
    table.remove(months, 1)
  end
  if next_new <= size and next_new > unsure then
    return string.format('%d', next_new), nil, 0
  end
  return aside, at('retired'), aside_last
end

local ends = ms + ARGV[5]
local ready = ends + ARGV[6]
local last_month = month_of(ends)
local lent, newly_active, is_refused = {}, 0, false
while #lent < asked do
  local guest, set, last = choose()
  if not guest then
    break
  end
  if last < month then
    if room < 1 then
      is_refused = true
      break
    end
    room = room - 1
    newly_active = newly_active + 1
  end
  if guest == aside then
    aside = nil
  end
  if set then
    redis.call('ZREM', set, guest)
  else
    next_new = next_new + 1
  end
  lent[#lent + 1] = guest
end

local answer = {ms, 1, 0, ms, ends}
if #lent > 0 then
  redis.call('HSET', pool, 'n', next_new, 'cd', ARGV[6])
  if newly_active > 0 then
    redis.call('HINCRBY', pool, 'a' .. month, newly_active)
  end
  for following = month + 1, last_month do
    redis.call('HINCRBY', pool, 'a' .. following, #lent)
  end
  -- Numbers that are written often are made texts once.
  local from, till, cooled, last = string.format('%d', ms), string.format('%d', ends), string.format('%d', ready), string.format('%d', last_month)
  local busy, joins = {}, {}
  for place, guest in ipairs(lent) do
    redis.call('HSET', at(guest), 'i', ARGV[10 + place], 's', from, 'e', till, 'x', till, 'b', cooled, 'a', last)
    busy[2 * place - 1], busy[2 * place] = cooled, guest
    joins[2 * place - 1], joins[2 * place] = from, guest
    answer[5 + place] = tonumber(guest)
  end
  redis.call('ZADD', at('busy'), unpack(busy))
  if ARGV[7] == '1' then
    redis.call('ZADD', at('joins'), unpack(joins))
  end
end

-- Whether the budget is why there is no guest, and how long to wait for one.
local function refuse()
  if looks == 0 then
    return 0, 1000
  end
  local over = begins(month + 1)
  local known = redis.call('HMGET', pool, 'w', 'fl')
  local wanted_since = tonumber(string.match(known[1] or '', '%d+$'))
  local is_over_budget = room < 1
  local stale = ms - (wanted_since or 0) >= tonumber(ARGV[10]) and redis.call('ZRANGEBYSCORE', at('stale'), '-inf', size, 'LIMIT', 0, 1)[1]
  local in_time = over - ms >= tonumber(ARGV[9])
  if stale and not is_refused and ms >= floor and not is_over_budget and in_time then
    -- Taking it out of what it is in costs the month that lending it costs, so that one price covers both.
    redis.call('ZREM', at('stale'), stale)
    redis.call('HINCRBY', pool, 'a' .. month, 1)
    redis.call('HSET', at(stale), 'a', month, 'b', ms)
    redis.call('ZADD', at('work'), ms, stale)
    redis.call('HSET', pool, 'w', string.format('%s %.0f', stale, ms))
    return 0, 2000
  end

  -- When the first guest can be lent, as far as sixteen looks into each queue tell. Beyond the budget only what is active already is lent
  -- before the month is over.
  local earliest = math.huge
  local function no_later_than(moment, last)
    if is_over_budget and last < month then
      moment = math.max(moment, over)
    end
    earliest = math.min(earliest, moment)
  end
  -- When a guest with a record is ready, the last month in which it is active, and whether somebody works on it.
  local function ready(waiting)
    local record = redis.call('HMGET', at(waiting), 'b', 'i', 's', 'a', 'k')
    local moment = tonumber(record[1])
    if not record[2] then
      moment = math.max(moment, floor)
    elseif tonumber(record[3]) < tonumber(doubted) then
      moment = math.max(moment, known[2])
    end
    return moment, tonumber(record[4]), record[5]
  end
  local busy = redis.call('ZRANGE', at('busy'), 0, 15, 'WITHSCORES')
  for place = 1, #busy, 2 do
    if tonumber(busy[place + 1]) >= earliest then
      break
    elseif tonumber(busy[place]) <= size then
      no_later_than(ready(busy[place]))
    end
  end
  if #busy == 32 and earliest == math.huge then
    -- All of these are beyond the size.
    no_later_than(tonumber(busy[32]), month)
  end
  local work = redis.call('ZRANGE', at('work'), 0, 15, 'WITHSCORES')
  for place = 1, #work, 2 do
    if tonumber(work[place]) <= size then
      local moment, last, claimed = ready(work[place])
      -- What somebody works on is mostly done in a moment.
      no_later_than(math.max(moment, claimed and ms + 2000 or tonumber(work[place + 1])), last)
    end
  end
  -- What a doubt keeps back is seen clean in a moment once it is over.
  local seen = math.max(ms, floor)
  if kept[4] then
    for _, last in ipairs(redis.call('ZREVRANGE', at('months'), 0, -1)) do
      for _, waiting in ipairs(redis.call('ZRANGEBYSCORE', at('idle:' .. last), '-inf', '(' .. doubted, 'LIMIT', 0, 16)) do
        if tonumber(waiting) <= size then
          no_later_than(seen, tonumber(last))
          break
        end
      end
    end
    local waiting, last = find_aside(0, month, 1, size)
    if waiting then
      no_later_than(seen, last)
    end
    if next_new <= size then
      no_later_than(seen, 0)
    end
  end
  if stale then
    no_later_than(math.max(seen, in_time and 0 or over), 0)
  end
  if is_refused then
    no_later_than(ms, 0)
  end
  local by_budget = is_refused or is_over_budget and stale and ms >= floor
  return by_budget and 2 or 0, earliest == math.huge and 60000 or math.max(1000, earliest - ms)
end
if #lent < asked then
  answer[2], answer[3] = refuse()
end
if #lent > 0 then
  redis.call('SET', at('lend:' .. ARGV[1]), cmsgpack.pack(answer), 'PX', ARGV[8])
end
return answer
