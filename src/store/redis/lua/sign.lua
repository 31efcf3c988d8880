-- KEYS: workers, job. ARGV: id, heartbeat, lease in ms, seconds kept. A run without a job is unknown or was forgotten: it gets no key.
if redis.call('TTL', KEYS[2]) == -2 then
    return 0
end
redis.call('HSET', KEYS[1], ARGV[1], lease_end(ARGV[3]) .. ' ' .. ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
