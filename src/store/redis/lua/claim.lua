-- KEYS: for each task: task, done. ARGV: seconds kept, then for each task: mark, nonce, lease in ms. Returns for each task
-- {0}: done, {1}: held, {2, attempt, failures, slot, bytes, ...}.
local function claim(task, done, mark, nonce, lease)
    if redis.call('SISMEMBER', done, mark) == 1 then
        return {0}
    end
    local known, reply = {}, {2, 0, 0}
    local fields = redis.call('HGETALL', task)
    for i = 1, #fields, 2 do
        if string.find(fields[i], '^%d') then
            reply[#reply + 1] = fields[i]
            reply[#reply + 1] = fields[i + 1]
        else
            known[fields[i]] = fields[i + 1]
        end
    end
    if known.p then
        return {0}
    end
    local attempt, failures = tonumber(known.a or 0), tonumber(known.f or 0)
    if known.n == nonce then
        -- A repetition. If the attempt has been released, its answer had arrived and this command is late.
        if not known.u then
            return {1}
        end
    else
        if known.u and micros() < tonumber(known.u) * 1000 then
            return {1}
        end
        if known.u and not known.w then
            failures = failures + 1
        end
        if known.w then
            redis.call('HDEL', task, 'w')
        end
        attempt = attempt + 1
    end
    redis.call('HSET', task, 'a', whole(attempt), 'u', lease_end(lease), 'f', whole(failures), 'n', nonce)
    redis.call('EXPIRE', task, ARGV[1])
    reply[2], reply[3] = attempt, failures
    return reply
end

local claims = {}
for i = 1, #KEYS / 2 do
    claims[i] = claim(KEYS[2 * i - 1], KEYS[2 * i], ARGV[3 * i - 1], ARGV[3 * i], ARGV[3 * i + 1])
end
return claims
