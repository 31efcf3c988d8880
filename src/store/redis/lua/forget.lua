-- KEYS: any key of the run. ARGV: cursor, pattern, keys per step, prefix, keys that stay. Deletes the run's keys among those of one step.
-- Returns {next cursor, how many were deleted}.
local stays = {}
for i = 5, #ARGV do
    stays[ARGV[i]] = true
end
local step = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local deleted = 0
for _, key in ipairs(step[2]) do
    if string.sub(key, 1, #ARGV[4]) == ARGV[4] and not stays[key] then
        deleted = deleted + redis.call('DEL', key)
    end
end
return {step[1], deleted}
