-- KEYS: hash, stream, set, string. ARGV: seconds kept. Runs every command of the other scripts once and leaves no key, so that a missing permission is
-- found at the start and not at the first outcome. Returns 1, or the first refusal with all commands that were refused.
local refused, reason = {}, nil
local function try(command, ...)
    local reply = redis.pcall(command, ...)
    if type(reply) == 'table' and reply.err then
        refused[#refused + 1] = command
        reason = reason or reply.err
    end
end

try('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
-- Create nothing that could not be deleted.
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
