-- Lend a guest to a new holder.
--
-- KEYS  1 [hash]   pool
-- ARGV  1 [string] request id: a repeat gets the same guest
--       2 [string] digest of the holder's secret
--       3 [string] the pool's birth, as the caller knows it
--       4 [int]    size
--       5 [string] how many guests may be active in the month; empty for all
--       6 [int]    how long the lease and its token last, ms
--       7 [int]    cool-down, ms
--       8 [string] 1 when the guest is to be taken into conversations
--       9 [int]    how long a repeat may come, ms
--      10 [int]    how much of a month has to be left for a stale guest to be paid for in it, ms
--      11 [int]    for how long one that is wanted keeps another from being wanted, ms
--
-- Returns {ms of the store's clock, 1, guest, ends ms, since ms}; {ms, 0, ms to wait} when there is none; {ms, 2, ms to wait} when there is one, and the
-- budget does not allow it; {ms, 3} when the caller has to heed a doubt first.
-- What is idle is kept by the month in which it was active last, by when it was seen clean. So the sets are as many as the months, and
-- each look is one at the first of a set, whatever the pool's size. What was put aside keeps its month too.
assert(#KEYS == 1 and #ARGV == 11, 'lend_guest.lua takes 1 key and 11 arguments')

local month = month_of(ms)
local kept = redis.call('HMGET', pool, 'b', 'id', 'n', 'd', 'fi', 'un', 'w', 'cd', 'a' .. month, 'fl')
if kept[1] ~= ARGV[3] or kept[2] ~= history() then
  return {ms, 3}
end
local repeated = redis.call('GET', at('lend:' .. ARGV[1]))
if repeated then
  local guest, since, ends = string.match(repeated, '^(%d+) (%d+) (%d+)$')
  return {ms, 1, tonumber(guest), tonumber(ends), tonumber(since)}
end

local size, next_new = tonumber(ARGV[4]), tonumber(kept[3] or 1)
local doubted, floor, unsure = kept[4] or 0, tonumber(kept[5] or 0), tonumber(kept[6] or 0)
local looks = 64
-- The guest of the month's set that is idle longest. Those beyond the size are put aside until it grows.
local function first_of(set, last)
  while looks > 0 do
    local guest = redis.call('ZRANGEBYSCORE', set, doubted, '+inf', 'LIMIT', 0, 1)[1]
    if not guest or tonumber(guest) <= size then
      return guest
    end
    looks = looks - 1
    redis.call('ZREM', set, guest)
    redis.call('ZADD', at('retired'), last * NUMBERS + guest, guest)
  end
end

-- Active already: a token that outlasts the month has made some of them so for the next one.
local active, set, guest
for ahead = month + 1, month, -1 do
  set = at('idle:' .. ahead)
  guest = first_of(set, ahead)
  active = ahead
  if guest then
    break
  end
end
if not guest and looks > 0 and ms >= floor then
  -- One that was put aside before a doubt is as doubtful as one that was never lent.
  guest, active = find_aside(month, month + 1, unsure + 1, size)
  set = at('retired')
end
local costs = not guest
if costs and ms >= floor then
  for _, before in ipairs(redis.call('ZRANGE', at('months'), 0, -1)) do
    if tonumber(before) >= month then
      break
    end
    set = at('idle:' .. before)
    active = tonumber(before)
    guest = first_of(set, active)
    if guest then
      break
    elseif redis.call('EXISTS', set) == 0 then
      redis.call('ZREM', at('months'), before)
    end
  end
  if not guest and looks > 0 then
    active, set = 0, nil
    if next_new <= size and next_new > unsure then
      guest = next_new
    else
      guest, active = find_aside(0, month - 1, unsure + 1, size)
      set = at('retired')
    end
  end
end
local over_budget = ARGV[5] ~= '' and tonumber(kept[9] or 0) >= tonumber(ARGV[5])

if guest and not (costs and over_budget) then
  if set then
    redis.call('ZREM', set, guest)
  else
    redis.call('HSET', pool, 'n', next_new + 1)
  end
  local ends = ms + ARGV[6]
  local ready = ends + ARGV[7]
  redis.call('HSET', at(guest), 'i', ARGV[2], 's', ms, 'e', ends, 'x', ends, 'b', ready, 'a',
    count(active, month, month_of(ends)), 'r', ARGV[1])
  redis.call('ZADD', at('busy'), ready, guest)
  if ARGV[8] == '1' then
    redis.call('ZADD', at('joins'), ms, guest)
  end
  if kept[8] ~= ARGV[7] then
    redis.call('HSET', pool, 'cd', ARGV[7])
  end
  redis.call('SET', at('lend:' .. ARGV[1]), string.format('%s %.0f %.0f', guest, ms, ends), 'PX', ARGV[9])
  return {ms, 1, tonumber(guest), ends, ms}
end

if looks == 0 then
  return {ms, 0, 1000}
end
local over = begins(month + 1)
local wanted_since = tonumber(string.match(kept[7] or '', '%d+$'))
local stale = ms - (wanted_since or 0) >= tonumber(ARGV[11]) and redis.call('ZRANGEBYSCORE', at('stale'), '-inf', size, 'LIMIT', 0, 1)[1]
local in_time = over - ms >= tonumber(ARGV[10])
if stale and not guest and ms >= floor and not over_budget and in_time then
  -- Taking it out of what it is in costs the month that lending it costs, so that one price covers both.
  redis.call('ZREM', at('stale'), stale)
  redis.call('HSET', at(stale), 'a', count(0, month, month), 'b', ms)
  redis.call('ZADD', at('work'), ms, stale)
  redis.call('HSET', pool, 'w', string.format('%s %.0f', stale, ms))
  return {ms, 0, 2000}
end

-- When the first guest can be lent, as far as sixteen looks into each queue tell. Beyond the budget only what is active already is lent
-- before the month is over.
local earliest = math.huge
local function no_later_than(moment, last)
  if over_budget and last < month then
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
    moment = math.max(moment, kept[10])
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
  local aside, last = find_aside(0, month + 1, 1, size)
  if aside then
    no_later_than(seen, last)
  end
  if next_new <= size then
    no_later_than(seen, 0)
  end
end
if stale then
  no_later_than(math.max(seen, in_time and 0 or over), 0)
end
if guest then
  no_later_than(ms, 0)
end
local refused = guest or over_budget and stale and ms >= floor
return {ms, refused and 2 or 0, earliest == math.huge and 60000 or math.max(1000, earliest - ms)}
