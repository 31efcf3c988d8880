-- KEYS: task, outcomes. Returns the bytes.
local position = redis.call('HGET', KEYS[1], 'p')
if not position then
    return false
end
local entry = redis.call('XRANGE', KEYS[2], position .. '-0', position .. '-0')[1]
return entry and entry[2][4]
