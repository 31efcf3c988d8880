-- KEYS: outcomes, then for each task: task, done. ARGV: seconds kept, then for each task: position, mark.
-- Deletes before it adds, so that full memory does not prevent freeing it.
for i = 1, (#KEYS - 1) / 2 do
    local task, done, position, mark = KEYS[2 * i], KEYS[2 * i + 1], ARGV[2 * i], ARGV[2 * i + 1]
    if redis.call('HGET', task, 'p') == position then
        redis.call('DEL', task)
        redis.call('XDEL', KEYS[1], position .. '-0')
        redis.call('SADD', done, mark)
        redis.call('EXPIRE', done, ARGV[1])
    end
end
return 1
