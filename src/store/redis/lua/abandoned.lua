-- KEYS: tasks. Returns the indexes, from 1, of the tasks without a lease and without a readable outcome.
local now, abandoned = micros(), {}
for i = 1, #KEYS do
    local found = redis.call('HMGET', KEYS[i], 'u', 'p')
    if not found[2] and not (found[1] and now < tonumber(found[1]) * 1000) then
        abandoned[#abandoned + 1] = i
    end
end
return abandoned
