-- KEYS: tasks. ARGV: for each task: attempt, slot, bytes. Returns for each 0: fenced.
local replies = {}
for i = 1, #KEYS do
    if holds(KEYS[i], ARGV[3 * i - 2]) then
        redis.call('HSET', KEYS[i], ARGV[3 * i - 1], ARGV[3 * i])
        replies[i] = 1
    else
        replies[i] = 0
    end
end
return replies
