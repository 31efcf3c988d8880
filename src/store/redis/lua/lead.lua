-- KEYS: leader. ARGV: who, lease in ms. Returns {} if the caller holds the lease, else {holder, ms left}.
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then
    return {leader, redis.call('PTTL', KEYS[1])}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {}
