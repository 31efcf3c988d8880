-- KEYS: task. ARGV: attempt, name and length of a long value, seconds kept. Announces the value, whose parts are written next. Returns
-- 0: fenced, 2: the attempt has stored an outcome already.
local found = redis.call('HMGET', KEYS[1], 'a', 'u', 'p', 'l')
if found[1] ~= ARGV[1] then
    return 0
end
if found[3] then
    return 2
end
if not found[2] then
    return 0
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
local known = found[4] or ''
if not string.find(' ' .. known .. ' ', ' ' .. ARGV[2] .. ' ', 1, true) then
    redis.call('HSET', KEYS[1], 'l', known == '' and ARGV[2] or known .. ' ' .. ARGV[2])
end
return 1
