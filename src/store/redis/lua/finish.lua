-- KEYS: task, outcomes, position. ARGV: attempt, id, outcome, seconds kept. Gives 0: fenced.
local found = redis.call('HMGET', KEYS[1], 'a', 'u', 'p')
if found[1] ~= ARGV[1] then
    return 0
end
if found[3] then
    return 1
end
if not found[2] then
    return 0
end
-- Not behind the clock: a server that lost its last second would otherwise give positions again that readers have passed.
local position = whole(math.max(micros(), tonumber(redis.call('GET', KEYS[3]) or 0) + 1))
-- First, for it is what can be refused.
redis.call('XADD', KEYS[2], position .. '-0', 't', ARGV[2], 'o', ARGV[3])
redis.call('SET', KEYS[3], position, 'EX', ARGV[4])
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'a', ARGV[1], 'p', position)
redis.call('EXPIRE', KEYS[1], ARGV[4])
if redis.call('TTL', KEYS[2]) < 0 then
    redis.call('EXPIRE', KEYS[2], ARGV[4])
end
return 1
