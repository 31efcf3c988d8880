-- KEYS: task, done. ARGV: id, lease in ms, nonce, seconds kept. Gives {0}: done, {1}: held, {2, attempt, failures, slot, bytes, ...}.
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then
    return {0}
end
local found = redis.call('HMGET', KEYS[1], 'a', 'u', 'f', 'n', 'p')
local attempt, runs, failures = tonumber(found[1] or 0), found[2], tonumber(found[3] or 0)
if found[5] then
    return {0}
end
if found[4] == ARGV[3] then
    -- A repetition. If the attempt has been released, somebody had the answer and this command is a straggler.
    if not runs then
        return {1}
    end
else
    if runs and micros() < tonumber(runs) * 1000 then
        return {1}
    end
    if runs then
        failures = failures + 1
    end
    attempt = attempt + 1
end
redis.call('HSET', KEYS[1], 'a', whole(attempt), 'u', lease_end(ARGV[2]), 'f', whole(failures), 'n', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
local reply = {2, attempt, failures}
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
    if string.find(fields[i], '^%d') then
        reply[#reply + 1] = fields[i]
        reply[#reply + 1] = fields[i + 1]
    end
end
return reply
