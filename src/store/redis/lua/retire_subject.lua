-- Take an identity from a subject and end all its sessions, those that are about to be opened too.
--
-- KEYS  1 [string] subject: the identity it is bound to
--       2 [hash]   standing
-- ARGV  1 [string] identity; a subject that is bound to another one keeps that
--       2 [int]    how long the ending is remembered: no session lasts longer, ms
--
-- Returns {ms of the store's clock}.
assert(#KEYS == 2 and #ARGV == 2, 'retire_subject.lua takes 2 keys and 2 arguments')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
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
redis.call('PEXPIRE', KEYS[2], math.max(redis.call('PTTL', KEYS[2]), ARGV[2]))
return {ms}
