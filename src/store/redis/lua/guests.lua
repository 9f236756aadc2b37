-- What the scripts about guests share; stands before each of them. KEYS[1] is the pool.
local pool = KEYS[1]
local time = redis.call('TIME')
local us = time[1] * 1000000 + time[2]
local ms = math.floor(us / 1000)

local function at(name)
  return pool .. ':' .. name
end

-- Twelve for each year since 0, and the month's place in the year from 0 (UTC). Years are counted from March, so that the leap day is a
-- year's last.
local function month_of(moment)
  local day = math.floor(moment / 86400000) + 719468
  local era = math.floor(day / 146097)
  local of_era = day - era * 146097
  local year = math.floor((of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524) - math.floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local from_march = math.floor((5 * of_year + 2) / 153)
  return (year + era * 400) * 12 + from_march + 2
end

local function begins(month)
  local since_march = month - 2
  local year = math.floor(since_march / 12)
  local era = math.floor(year / 400)
  local of_era = year - era * 400
  local of_year = math.floor((153 * (since_march - year * 12) + 2) / 5)
  local day = era * 146097 + 365 * of_era + math.floor(of_era / 4) - math.floor(of_era / 100) + of_year - 719468
  return day * 86400000
end

-- Whether the server still goes on with the history of this name: it takes another one after a restart, and on a replica that has become
-- the master, where the former one stands beside it.
local function is_history(id)
  return id and string.find(redis.call('INFO', 'replication'), 'master_replid:' .. id, 1, true)
end

-- What is put aside, since it is beyond the size, waits by the month in which it was active last, then by number. A month has room for
-- all numbers.
local NUMBERS = 4294967296

-- A guest from the number `low` to `high` that is put aside, and the month in which it was active last: the latest from `first` to `last`.
local function find_aside(first, last, low, high)
  local retired = at('retired')
  local before = (last + 1) * NUMBERS
  while low <= high do
    local found = redis.call('ZREVRANGEBYSCORE', retired, string.format('(%.0f', before), first * NUMBERS, 'WITHSCORES', 'LIMIT', 0, 1)
    if not found[1] then
      return nil
    end
    local month = math.floor(found[2] / NUMBERS)
    local guest = redis.call('ZRANGEBYSCORE', retired, month * NUMBERS + low, month * NUMBERS + high, 'LIMIT', 0, 1)[1]
    if guest then
      return guest, month
    end
    before = month * NUMBERS
  end
end
