-- Use a session: its idle time begins anew, unless it is over or over its limit (GCRA).
--
-- KEYS  1 [hash]   session
--       2 [string] subject: how often its sessions were ended, and the identity it is bound to
--       3 [hash]   standing
-- ARGV  1 [string] request id: a repeat right after is not counted again
--       2 [int]    idle time, ms
--       3 [int]    how old the last use may be without being written again, ms
--       4 [int]    interval between two uses, µs; 0 for no limit
--       5 [int]    burst: interval times count, µs
--
-- Returns {ms of the store's clock, 2, card, provider, last used ms, ends ms, asked or nil, brief} when it lives; {ms, 1, µs until it may be
-- used again} when it is over its limit; {ms, 0} when it is no more, or its subject is another than when it began, or nothing is
-- remembered of it. This runs for every token: without a limit it mostly reads.
assert(#KEYS == 3 and #ARGV == 5, 'use_session.lua takes 3 keys and 5 arguments')

local time = redis.call('TIME')
local us = time[1] * 1000000 + time[2]
local ms = math.floor(us / 1000)

local kept = redis.call('HMGET', KEYS[1], 'e', 'c', 'p', 'l', 't', 'r', 'v')
if not kept[1] then
  return {ms, 0}
end
local ends, used = tonumber(kept[1]), tonumber(kept[4])
if ms >= ends or ms >= used + ARGV[2] then
  return {ms, 0}
end
local subject = redis.call('GET', KEYS[2]) or ''
local brief = redis.call('HGET', KEYS[3], kept[3])
if not brief or string.sub(kept[2], -#subject - 1) ~= ' ' .. subject then
  return {ms, 0}
end

if kept[6] ~= ARGV[1] then
  if ARGV[4] ~= '0' then
    local untouched = math.max(kept[5] or 0, us) + ARGV[4]
    local wait = untouched - us - ARGV[5]
    if wait > 0 then
      return {ms, 1, wait}
    end
    redis.call('HSET', KEYS[1], 't', untouched, 'r', ARGV[1])
  end
  if ms - used >= tonumber(ARGV[3]) then
    used = ms
    redis.call('HSET', KEYS[1], 'l', ms)
    redis.call('PEXPIREAT', KEYS[1], math.min(ends, ms + ARGV[2]))
  end
end
return {ms, 2, kept[2], kept[3], used, ends, kept[7], brief}
