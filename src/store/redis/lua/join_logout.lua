-- Have the logouts of a handle name a subject too.
--
-- KEYS  1 [string] handle: when it was logged out, ms, if it was, and who has joined, each after a space
-- ARGV  1 [string] subject key
--       2 [int]    since when no logout may have come, ms
--       3 [int]    how long it is kept at least, ms
--
-- Returns {ms of the store's clock, 1}, or {ms, 0} when it was logged out since, and nobody has joined.
assert(#KEYS == 1 and #ARGV == 3, 'join_logout.lua takes 1 key and 3 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local kept = redis.call('GET', KEYS[1]) or ''
local at = string.match(kept, '^%d+')
if at and at + 0 >= tonumber(ARGV[2]) then
  return {ms, 0}
end
local left = redis.call('PTTL', KEYS[1])
if not string.find(kept .. ' ', ' ' .. ARGV[1] .. ' ', 1, true) then
  redis.call('SET', KEYS[1], kept .. ' ' .. ARGV[1])
end
redis.call('PEXPIRE', KEYS[1], math.max(left, ARGV[3]))
return {ms, 1}
