-- KEYS: workers. Returns the heartbeats that have not expired, each after the rest of its lease in ms and a space, and deletes the
-- others.
local now, heartbeats = micros(), {}
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
    local till, about = string.match(fields[i + 1], '^(%d+) (.*)$')
    if till and now < tonumber(till) * 1000 then
        heartbeats[#heartbeats + 1] = whole(tonumber(till) - now / 1000) .. ' ' .. about
    else
        redis.call('HDEL', KEYS[1], fields[i])
    end
end
return heartbeats
