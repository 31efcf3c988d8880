-- KEYS: task, outcomes, done, position, workers, and for a coordinator leader, report. ARGV: seconds kept; "worker", "coordinator" or
-- "both"; the job's key, which is no KEY because a worker may only read it. Runs every command of the other scripts once and leaves no key,
-- so that a missing permission is found at the start and not at the first outcome. Returns 1, or the first refusal with all commands that
-- were refused.
local refused, reason = {}, nil
local function try(command, ...)
    local reply = redis.pcall(command, ...)
    if type(reply) == 'table' and reply.err then
        refused[#refused + 1] = command
        reason = reason or reply.err
    end
end
-- A time to live of 0 deletes a key, for users that may not run DEL.
local function remove()
    for i = 1, #KEYS do
        try('EXPIRE', KEYS[i], '0')
    end
end
local task, outcomes, done, position, workers, leader = unpack(KEYS)

remove()
-- Create nothing that could not be deleted.
if not reason then
    try('TIME')
    try('HSET', task, 'a', '1', 'u', '1')
    try('HMGET', task, 'a', 'u')
    try('HGETALL', task)
    try('EXPIRE', task, ARGV[1])
    try('HDEL', task, 'u')
    try('SISMEMBER', done, '1')
    try('SET', position, '1', 'EX', ARGV[1])
    try('GET', position)
    try('GET', ARGV[3])
    if ARGV[2] ~= 'coordinator' then
        try('XADD', outcomes, '1-0', 't', 'o')
        try('TTL', outcomes)
        try('HSET', workers, 'a', '1')
    end
    if ARGV[2] ~= 'worker' then
        try('HSETNX', task, 'u', '1')
        try('HGET', task, 'a')
        try('HEXISTS', task, 'a')
        try('HKEYS', task)
        try('XRANGE', outcomes, '1-0', '+')
        try('XDEL', outcomes, '1-0')
        try('SADD', done, '1')
        try('SREM', done, '1')
        try('SET', leader, '1', 'EX', ARGV[1])
        try('PTTL', leader)
        try('DEL', unpack(KEYS))
    end
    remove()
end
if reason then
    return redis.error_reply(reason .. ' (refused: ' .. table.concat(refused, ' ') .. ')')
end
return 1
