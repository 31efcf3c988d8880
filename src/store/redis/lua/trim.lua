-- KEYS: outcomes, then for each task: task, done. ARGV: seconds kept, then for each task: position, mark. Returns, for each trimmed task
-- with long values, its number, from 1, and what it announced.
-- Deletes before it adds, so that full memory does not prevent freeing it.
local long = {}
for i = 1, (#KEYS - 1) / 2 do
    local task, done, position, mark = KEYS[2 * i], KEYS[2 * i + 1], ARGV[2 * i], ARGV[2 * i + 1]
    local found = redis.call('HMGET', task, 'p', 'l')
    if found[1] == position then
        redis.call('DEL', task)
        redis.call('XDEL', KEYS[1], position .. '-0')
        redis.call('SADD', done, mark)
        redis.call('EXPIRE', done, ARGV[1])
        if found[2] then
            long[#long + 1] = i
            long[#long + 1] = found[2]
        end
    end
end
return long
