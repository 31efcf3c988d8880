-- KEYS: workers. ARGV: id, heartbeat, lease in ms, seconds kept.
redis.call('HSET', KEYS[1], ARGV[1], lease_end(ARGV[3]) .. ' ' .. ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
