-- Prepended to every script. Only the server's clock is used. Numbers are written in full, because Lua rounds to 14 digits.
-- A task is a hash: a = latest attempt, u = end of its lease in ms (only while it runs), f = attempts that lost their lease, w = the
-- latest attempt waits before its first call (then the end of its lease is no failure),
-- n = nonce of the latest claim, p = position of the outcome (only once there is one; nothing else counts then), l = names and lengths of
-- the long values that it announced, digits = what the slot recorded.
local now
local function micros()
    if not now then
        local time = redis.call('TIME')
        now = time[1] * 1000000 + time[2]
    end
    return now
end

local function whole(number)
    return string.format('%.0f', number)
end

local function lease_end(lease)
    return whole(math.floor(micros() / 1000) + lease)
end

local function holds(task, attempt)
    local found = redis.call('HMGET', task, 'a', 'u', 'p')
    return found[1] == attempt and found[2] and not found[3]
end
