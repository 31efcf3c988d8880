-- KEYS: hash, stream, set, string. ARGV: seconds kept. Does once what the other steps do, and leaves nothing: what a user lacks rights for is
-- found at the start and not at the first outcome. Gives 1, or the first refusal with all commands that were refused.
local refused, reason = {}, nil
local function try(command, ...)
    local reply = redis.pcall(command, ...)
    if type(reply) == 'table' and reply.err then
        refused[#refused + 1] = command
        reason = reason or reply.err
    end
end

try('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
-- What could not be taken away again must not be made.
if not reason then
    try('TIME')
    try('HSETNX', KEYS[1], 'a', '1')
    try('HSET', KEYS[1], 'u', '1')
    try('HMGET', KEYS[1], 'a', 'u')
    try('HGETALL', KEYS[1])
    try('HKEYS', KEYS[1])
    try('HGET', KEYS[1], 'a')
    try('HEXISTS', KEYS[1], 'a')
    try('EXPIRE', KEYS[1], ARGV[1])
    try('TTL', KEYS[1])
    try('HDEL', KEYS[1], 'u')
    try('XADD', KEYS[2], '1-0', 't', 'o')
    try('XRANGE', KEYS[2], '1-0', '+')
    try('XDEL', KEYS[2], '1-0')
    try('SADD', KEYS[3], '1')
    try('SISMEMBER', KEYS[3], '1')
    try('SREM', KEYS[3], '1')
    try('SET', KEYS[4], '1', 'EX', ARGV[1])
    try('GET', KEYS[4])
    try('PTTL', KEYS[4])
    try('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
end
if reason then
    return redis.error_reply(reason .. ' (refused: ' .. table.concat(refused, ' ') .. ')')
end
return 1
