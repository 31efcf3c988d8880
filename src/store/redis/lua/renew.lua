-- KEYS: task. ARGV: attempt, lease in ms, seconds kept. Returns 0: fenced.
if not holds(KEYS[1], ARGV[1]) then
    return 0
end
-- EXPIRE first: a script that has begun to write is not refused when memory is full, and a lease must be renewable then.
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('HSET', KEYS[1], 'u', lease_end(ARGV[2]))
return 1
