-- KEYS: for each task: task, done. ARGV: seconds kept, then the mark of each task. Returns how many were trimmed.
local reopened = 0
for i = 1, #KEYS / 2 do
    local task, done = KEYS[2 * i - 1], KEYS[2 * i]
    if redis.call('SREM', done, ARGV[i + 1]) == 1 then
        reopened = reopened + 1
        -- Attempts continue from the clock in seconds, so that no number of an earlier life is reused.
        redis.call('HSET', task, 'a', whole(math.floor(micros() / 1000000)))
        redis.call('EXPIRE', task, ARGV[1])
    end
end
return reopened
