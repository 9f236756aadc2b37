-- Describe the pool.
--
-- KEYS  1 [hash]   pool
--
-- Returns {ms of the store's clock, made, lent, cooling, scrubbing, stale, warm, cold, retired, doubtful, joining, active, month, doubted ms or 0, quarantine ends
-- ms or 0}.
assert(#KEYS == 1 and #ARGV == 0, 'describe_pool.lua takes 1 key')

local month = month_of(ms)
local kept = redis.call('HMGET', pool, 'n', 'cd', 'a' .. month, 'd', 'fi')
local doubted = tonumber(kept[4] or 0)
local warm, cold, doubtful = 0, 0, 0
for _, last in ipairs(redis.call('ZRANGE', at('months'), 0, -1)) do
  local set = at('idle:' .. last)
  local unseen = redis.call('ZCOUNT', set, '-inf', '(' .. doubted)
  doubtful = doubtful + unseen
  if tonumber(last) >= month then
    warm = warm + redis.call('ZCARD', set) - unseen
  else
    cold = cold + redis.call('ZCARD', set) - unseen
  end
end
local ending = string.format('(%.0f', ms + (kept[2] or 0))
local lent = redis.call('ZCOUNT', at('busy'), ending, '+inf')
local quarantine = tonumber(kept[5] or 0)
return {ms, (kept[1] or 1) - 1, lent, redis.call('ZCARD', at('busy')) - lent, redis.call('ZCARD', at('work')),
  redis.call('ZCARD', at('stale')), warm, cold, redis.call('ZCARD', at('retired')), doubtful, redis.call('ZCARD', at('joins')),
  tonumber(kept[3] or 0), month, doubted, quarantine > ms and quarantine or 0}
