-- End the sessions of a subject that a logout of its provider's names, and those that are about to be opened.
--
-- KEYS  1 [string] subject: how often its sessions were ended, and the identity it is bound to
--       2 [zset]   devices: the subject's sessions
--       3 [zset]   logouts: what was logged out when, and the requests that did so
-- ARGV  1 [string] request id: a repeat with the same id does nothing
--       2 [int]    how long the logout is remembered, ms
--       3 [int]    how long an ended session stays as a tombstone, ms
--       4 [string] what the keys of the subject's sessions begin with; the ids among the devices complete them
--       5 [string] handle of the provider's sid whose sessions end; empty for all sessions
--       6 [string] 1 when those without one end too, else 0
--
-- Returns {ms of the store's clock}. All sessions end by one more ending; of a subject that never had any none is counted, for that
-- would stay for ever.
assert(#KEYS == 3 and #ARGV == 6, 'log_out_subject.lua takes 3 keys and 6 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

if redis.call('ZSCORE', KEYS[3], '+' .. ARGV[1]) then
  return {ms}
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', ms - ARGV[2] - 1)
redis.call('ZADD', KEYS[3], ms, '+' .. ARGV[1])
redis.call('PEXPIRE', KEYS[3], ARGV[2])
local function mark(what)
  -- Never earlier than before, whatever the clock does.
  redis.call('ZADD', KEYS[3], 'GT', ms, what)
end

if ARGV[5] == '' then
  mark('*')
  local endings, identity = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (.*)$')
  if endings then
    redis.call('SET', KEYS[1], string.format('%.0f %s', endings + 1, identity))
  end
  return {ms}
end
mark(ARGV[5])
local nameless = ARGV[6] == '1'
if nameless then
  mark('-')
end
for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  local key = ARGV[4] .. id
  local kept = redis.call('HMGET', key, 'e', 's')
  local ends, sid = kept[1], kept[2]
  if ends and (sid == ARGV[5] or nameless and not sid) then
    redis.call('HSET', key, 'x', ARGV[1], 'z', ends)
    redis.call('HDEL', key, 'e')
    redis.call('PEXPIRE', key, ARGV[3])
    ends = false
  end
  if not ends then
    redis.call('ZREM', KEYS[2], id)
  end
end
return {ms}
