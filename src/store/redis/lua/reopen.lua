-- KEYS: done, tasks. ARGV: seconds kept, then the id of each task. Gives how many were trimmed.
local reopened = 0
for i = 2, #KEYS do
    if redis.call('SREM', KEYS[1], ARGV[i]) == 1 then
        reopened = reopened + 1
        -- Attempts count on from the clock's seconds, so that no attempt of an earlier life has a number of this one.
        redis.call('HSET', KEYS[i], 'a', whole(math.floor(micros() / 1000000)))
        redis.call('EXPIRE', KEYS[i], ARGV[1])
    end
end
return reopened
