-- Mark a handle as logged out, and tell who has joined.
--
-- KEYS  1 [string] handle: when it was logged out, ms, if it was, and who has joined, each after a space
-- ARGV  1 [int]    how long the mark is kept at least, ms
--
-- Returns {ms of the store's clock, then the key of each subject that has joined}. They stay, for the next logout names them too.
assert(#KEYS == 1 and #ARGV == 1, 'log_out_handle.lua takes 1 key and 1 argument')

local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)

local at, joined = string.match(redis.call('GET', KEYS[1]) or '', '^(%d*)(.*)$')
local left = redis.call('PTTL', KEYS[1])
-- Never earlier than before, whatever the clock does.
redis.call('SET', KEYS[1], string.format('%.0f%s', math.max(ms, tonumber(at) or 0), joined))
redis.call('PEXPIRE', KEYS[1], math.max(left, ARGV[1]))
local answer = {ms}
for subject in string.gmatch(joined, '%S+') do
  answer[#answer + 1] = subject
end
return answer
