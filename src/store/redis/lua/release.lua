-- KEYS: task. ARGV: attempt, 1 for a repetition. Returns 0: fenced.
if holds(KEYS[1], ARGV[1]) then
    redis.call('HDEL', KEYS[1], 'u')
    return 1
end
local found = redis.call('HMGET', KEYS[1], 'a', 'p')
return ARGV[2] == '1' and found[1] == ARGV[1] and not found[2] and 1 or 0
