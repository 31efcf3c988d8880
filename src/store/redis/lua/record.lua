-- KEYS: task. ARGV: attempt, slot, bytes. Gives 0: fenced.
if not holds(KEYS[1], ARGV[1]) then
    return 0
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
return 1
