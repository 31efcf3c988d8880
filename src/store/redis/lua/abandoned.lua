-- KEYS: tasks. Gives the places, from 1, of those that nobody holds and that have no outcome to read.
local now, abandoned = micros(), {}
for i = 1, #KEYS do
    local found = redis.call('HMGET', KEYS[i], 'u', 'p')
    if not found[2] and not (found[1] and now < tonumber(found[1]) * 1000) then
        abandoned[#abandoned + 1] = i
    end
end
return abandoned
