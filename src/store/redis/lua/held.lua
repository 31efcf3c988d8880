-- KEYS: any key of the run. ARGV: cursor, pattern, keys per step, prefix of the run's tasks. Returns {next cursor, how many tasks of one step
-- have a lease}.
local step = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local now, held = micros(), 0
for _, key in ipairs(step[2]) do
    if string.sub(key, 1, #ARGV[4]) == ARGV[4] then
        -- What bsft did not write is no task.
        local found = redis.pcall('HMGET', key, 'u', 'p')
        local lease_end = not found.err and not found[2] and tonumber(found[1])
        if lease_end and now < lease_end * 1000 then
            held = held + 1
        end
    end
end
return {step[1], held}
