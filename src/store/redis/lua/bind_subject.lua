-- Bind a subject to the identity that was moved to it, whatever it was bound to before, and end its sessions.
--
-- KEYS  1 [string] subject: the identity it is bound to
--       2 [hash]   standing
-- ARGV  1 [string] identity
--       2 [int]    when the move was finished, ms
--       3 [int]    how long the ending is remembered: no session lasts longer, ms
--
-- Returns {ms of the store's clock, 1 when it is bound to it, now or since before, 0 when its sessions were ended after the move:
-- the identity may have been moved on by then, and whoever comes late must not bind a second subject to it}.
assert(#KEYS == 2 and #ARGV == 3, 'bind_subject.lua takes 2 keys and 3 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

if redis.call('GET', KEYS[1]) == ARGV[1] then
  return {ms, 1}
end
local begun_before = tonumber(redis.call('HGET', KEYS[2], ':e') or 0)
if tonumber(ARGV[2]) < begun_before then
  return {ms, 0}
end
redis.call('SET', KEYS[1], ARGV[1])
-- After every session there is, also one of this millisecond or one that began before the clock was set back: each began with
-- claims of its provider, or at the last ending.
local last = ms
local kept = redis.call('HGETALL', KEYS[2])
for i = 1, #kept, 2 do
  if kept[i] == ':e' then
    last = math.max(last, kept[i + 1])
  elseif not string.find(kept[i], ':', 1, true) then
    last = math.max(last, string.match(kept[i + 1], '%d+$'))
  end
end
redis.call('HSET', KEYS[2], ':e', last + 1)
redis.call('PEXPIRE', KEYS[2], math.max(redis.call('PTTL', KEYS[2]), ARGV[3]))
return {ms, 1}
