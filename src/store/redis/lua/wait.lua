-- KEYS: task. ARGV: attempt, 1 if it waits, seconds kept. Returns 0: fenced.
if not holds(KEYS[1], ARGV[1]) then
    return 0
end
-- EXPIRE first: a script that has begun to write is not refused when memory is full.
redis.call('EXPIRE', KEYS[1], ARGV[3])
if ARGV[2] == '1' then
    redis.call('HSET', KEYS[1], 'w', '1')
else
    redis.call('HDEL', KEYS[1], 'w')
end
return 1
