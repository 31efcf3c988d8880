-- KEYS: outcomes, position, tasks. ARGV: seconds kept, then for each task: attempt, id, outcome. Returns for each 0: fenced.
-- Not behind the clock: a server that lost its last second would otherwise reuse positions that readers have passed.
local position = math.max(micros(), tonumber(redis.call('GET', KEYS[2]) or 0) + 1)
-- Reserves all positions before anything else is written: a script that ends half-way reuses none.
redis.call('SET', KEYS[2], whole(position + #KEYS - 3), 'EX', ARGV[1])

local function finish(task, attempt, id, outcome)
    local found = redis.call('HMGET', task, 'a', 'u', 'p')
    if found[1] ~= attempt then
        return 0
    end
    if found[3] then
        return 1
    end
    if not found[2] then
        return 0
    end
    -- First, because only this command can be refused.
    redis.call('XADD', KEYS[1], whole(position) .. '-0', 't', id, 'o', outcome)
    redis.call('HSET', task, 'p', whole(position))
    position = position + 1
    return 1
end

local replies = {}
for i = 3, #KEYS do
    replies[i - 2] = finish(KEYS[i], ARGV[3 * i - 7], ARGV[3 * i - 6], ARGV[3 * i - 5])
end
if redis.call('TTL', KEYS[1]) == -1 then
    redis.call('EXPIRE', KEYS[1], ARGV[1])
end
return replies
