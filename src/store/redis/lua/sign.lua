-- KEYS: workers. ARGV: id, heartbeat, lease in ms, seconds kept, the job's key, which is no KEY because a worker may only read it.
-- A run without a job is unknown or was forgotten: it gets no key.
if redis.call('TTL', ARGV[5]) == -2 then
    return 0
end
redis.call('HSET', KEYS[1], ARGV[1], lease_end(ARGV[3]) .. ' ' .. ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
