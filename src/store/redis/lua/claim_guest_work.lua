-- Give out work on one guest.
--
-- KEYS  1 [hash]   pool
-- ARGV  1 [string] request id: a repeat gets the same work
--       2 [int]    for how long nobody else gets it, ms
--       3 [int]    size
--       4 [int]    how long before the month's end guests are scrubbed early, ms
--       5 [int]    from when on to look for those, ms
--       6 [int]    how long a repeat may come, ms
--       7 [int]    how long before writing is free no more a worker begins none, ms
--
-- Returns {ms of the store's clock, 1, guest, j to join or s to scrub, until when writing is free ms or 0, until when for
-- the heir ms, heir or nil}; {ms, 2, from ms} when there may be more to look at; {ms, 0} when there is nothing to do.
-- What a holder waits for, what was given back or has failed before, and what is ready to be idle: first comes what has been due longest,
-- so that whatever fails again and again keeps nothing else from its turn.
assert(#KEYS == 1 and #ARGV == 7, 'claim_guest_work.lua takes 1 key and 7 arguments')

local ended_before = tonumber(redis.call('HGET', pool, 'q') or 0)
local function give(guest)
  local kept = redis.call('HMGET', at(guest), 'a', 'h', 'hu', 'j', 'e', 's')
  local active, free_until = tonumber(kept[1] or 0), 0
  if kept[2] and tonumber(kept[6]) < ended_before then
    -- The guest may have been somebody else's since, in what was lost, and what it is in is theirs.
    redis.call('HDEL', at(guest), 'h', 'hu')
    kept[2] = false
  end
  if active >= month_of(ms) then
    free_until = begins(active + 1)
  end
  if kept[4] then
    return {ms, 1, tonumber(guest), 'j', math.min(free_until, kept[5])}
  end
  return {ms, 1, tonumber(guest), 's', free_until, tonumber(kept[3] or 0), kept[2]}
end
local function claim(guest, joins)
  local record = at(guest)
  redis.call('HSET', record, 'k', ARGV[1], 'w', ms + ARGV[2], 'q', ms)
  if joins then
    redis.call('HSET', record, 'j', '1')
    redis.call('ZADD', at('joins'), ms + ARGV[2], guest)
  else
    redis.call('HSET', record, 'u', '1')
    redis.call('HDEL', record, 'j')
    redis.call('ZREM', at('joins'), guest)
    redis.call('ZADD', at('work'), ms + ARGV[2], guest)
  end
  redis.call('SET', at('claim:' .. ARGV[1]), guest, 'PX', ARGV[6])
  return give(guest)
end
-- Until when somebody else works on a guest, if anybody does.
local function held(guest)
  local kept = redis.call('HMGET', at(guest), 'k', 'w')
  local till = kept[1] and tonumber(kept[2])
  return till and till > ms and till
end

local repeated = redis.call('GET', at('claim:' .. ARGV[1]))
if repeated and redis.call('HGET', at(repeated), 'k') == ARGV[1] then
  return give(repeated)
end

local month = month_of(ms)
-- What each queue does with a guest that is due in it; answers whether it is to be worked on.
local is_due = {}
function is_due.joins(guest, till)
  local kept = redis.call('HMGET', at(guest), 'e', 'g', 's', 'a', 'b', 'u')
  local ends, active, ready = tonumber(kept[1]), tonumber(kept[4]), tonumber(kept[5])
  if not ends or kept[2] or kept[6] or ms >= ready or tonumber(kept[3]) < ended_before then
    redis.call('ZREM', at('joins'), guest)
    return false
  end
  local again = till
  if not till and ms >= ends then
    -- Until it is scrubbed its holder may come back for it, and for its conversations.
    again = ready
  elseif not till and active < month then
    -- Its holder's next token makes it active. Without one, the write would.
    again = ms + ARGV[2]
  elseif not till then
    local last = math.min(begins(active + 1), ends)
    again = last - ms < tonumber(ARGV[7]) and last
  end
  if again then
    redis.call('ZADD', at('joins'), again, guest)
  end
  return not again
end
function is_due.work(guest, till)
  if till then
    redis.call('ZADD', at('work'), till, guest)
  end
  return not till
end
function is_due.busy(guest, till)
  redis.call('ZREM', at('busy'), guest)
  redis.call('ZREM', at('joins'), guest)
  return is_due.work(guest, till)
end

local waiting = {}
for _, queue in ipairs({'joins', 'work', 'busy'}) do
  local due = redis.call('ZRANGEBYSCORE', at(queue), '-inf', ms, 'WITHSCORES', 'LIMIT', 0, 16)
  for place = 1, #due, 2 do
    waiting[#waiting + 1] = {queue = queue, guest = due[place], since = tonumber(due[place + 1]), place = #waiting}
  end
end
table.sort(waiting, function(one, other)
  return one.since < other.since or one.since == other.since and one.place < other.place
end)
for _, one in ipairs(waiting) do
  if is_due[one.queue](one.guest, held(one.guest)) then
    return claim(one.guest, one.queue == 'joins')
  end
end

local over = begins(month + 1)
if over - ms <= tonumber(ARGV[4]) then
  -- What has ended by now is ready after the longest cool-down from now at the latest: what is lent lies beyond that, mostly.
  local cooldowns = redis.call('HMGET', pool, 'cd', 'tc')
  local last = ms + math.max(cooldowns[1] or 0, cooldowns[2] or 0)
  local from = math.max(over + 1, ARGV[5])
  local looked = redis.call('ZRANGEBYSCORE', at('busy'), from, last, 'WITHSCORES', 'LIMIT', 0, 32)
  for place = 1, #looked, 2 do
    local guest = looked[place]
    local kept = redis.call('HMGET', at(guest), 'e', 'x', 'g', 'u', 'a', 's')
    -- One that nobody has had is here for a doubt, and was looked at.
    local ended = kept[1] and (kept[3] or ms >= tonumber(kept[1]) or tonumber(kept[6]) < ended_before)
    if ended and ms >= tonumber(kept[2]) and not kept[4] and tonumber(kept[5]) == month and not held(guest) then
      return claim(guest)
    end
  end
  if #looked == 64 then
    return {ms, 2, looked[64] + 1}
  end
end

local kept = redis.call('HMGET', pool, 'd', 'fi', 'un', 'n')
if kept[1] and ms >= tonumber(kept[2]) then
  local unsure = math.min(kept[3] or 0, ARGV[3])
  -- What costs nothing to lend comes first: the latest months.
  local guest, last = find_aside(month, month, 1, unsure)
  local idle = 0
  if not guest then
    for _, before in ipairs(redis.call('ZREVRANGE', at('months'), 0, -1)) do
      local set = at('idle:' .. before)
      guest, last = redis.call('ZRANGEBYSCORE', set, '-inf', '(' .. kept[1], 'LIMIT', 0, 1)[1], before
      if guest then
        redis.call('ZREM', set, guest)
        break
      end
      idle = idle + redis.call('ZCARD', set)
    end
  end
  if not guest and idle < 64 then
    local next_new = tonumber(kept[4] or 1)
    if next_new <= unsure then
      redis.call('HSET', pool, 'n', next_new + 1)
      guest, last = next_new, 0
    else
      guest, last = find_aside(0, month - 1, 1, unsure)
    end
  end
  if guest then
    redis.call('ZREM', at('retired'), guest)
    redis.call('HSET', at(guest), 'a', last, 'b', kept[2])
    return claim(guest)
  end
end
return {ms, 0}
