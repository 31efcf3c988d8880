-- KEYS: outcomes, done, tasks. ARGV: seconds kept, then for each task: position, id.
-- Takes away before it adds: memory that is full must not keep us from freeing it.
for i = 3, #KEYS do
    local position, id = ARGV[2 * i - 4], ARGV[2 * i - 3]
    if redis.call('HGET', KEYS[i], 'p') == position then
        redis.call('DEL', KEYS[i])
        redis.call('XDEL', KEYS[1], position .. '-0')
        redis.call('SADD', KEYS[2], id)
    end
end
if redis.call('TTL', KEYS[2]) == -1 then
    redis.call('EXPIRE', KEYS[2], ARGV[1])
end
return 1
