-- KEYS: tasks. ARGV: for each task: attempt, slot, bytes. Gives for each 0: fenced.
local said = {}
for i = 1, #KEYS do
    if holds(KEYS[i], ARGV[3 * i - 2]) then
        redis.call('HSET', KEYS[i], ARGV[3 * i - 1], ARGV[3 * i])
        said[i] = 1
    else
        said[i] = 0
    end
end
return said
