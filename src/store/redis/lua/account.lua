-- Reserves slots for requests of an account, and passes on what its gates have found out. KEYS: account, gate. ARGV: 1 if the server did not know this script, as after a restart; seconds
-- kept; epoch of the gate's last reservation; requests wanted; tokens for each; tokens used beyond those reserved; rpm; tpm (0: not
-- declared); turn of the gate (1: closed, 2: opened); 1 if it wants to probe. Returns {epoch, gates that reserve slots, microseconds from now to the first slot, from each slot to the next, slots, microseconds before asking again, and
-- within which to ask; turns so far, 1 if the last one closed the account, microseconds before the gate may probe}.
-- The account is a hash; times are in microseconds: r, k = when the requests and the tokens reserved so far have been paid for,
-- s = no slot before, e = epoch, c, p = gates that reserved slots in it and in the one before.
-- The gate is a hash: v = turns so far, h = 1 if the last one closed the account, b = no probe before.
-- A slot may be used until VALID after its time: slots that are spaced for a minute and VALID keep every minute within the limit.
-- Tokens that are not used are kept for BURST.
local VALID, HORIZON, BLOCK, BURST, EPOCH, MINUTE = 1000000, 1000000, 700000, 200000, 5000000, 60000000
local PROBE_EVERY = 1000000
local is_new_server, epoch, wanted, each = ARGV[1] == '1', tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local debt, rpm, tpm = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local now = micros()
local known = redis.call('HMGET', KEYS[1], 'r', 'k', 's', 'e', 'c', 'p')
local requests, tokens, from = tonumber(known[1] or 0), tonumber(known[2] or 0), tonumber(known[3] or 0)
local this_epoch, gates, gates_before = tonumber(known[4] or 0), tonumber(known[5] or 0), tonumber(known[6] or 0)

local for_request = rpm > 0 and (MINUTE + VALID) / rpm or 0
local for_token = tpm > 0 and (MINUTE + VALID + BURST) / tpm or 0
local step = math.max(for_request, each * for_token)

-- Slots may have been reserved that are not known here: none is later than the horizon and a block.
if is_new_server or not known[1] then
    from = math.max(from, now + HORIZON + BLOCK + step)
end
tokens = math.max(tokens + debt * for_token, now - BURST)

local current = math.floor(now / EPOCH)
if current ~= this_epoch then
    gates_before = current == this_epoch + 1 and gates or 0
    this_epoch, gates = current, 0
end
if wanted > 0 and epoch ~= current then
    gates, epoch = gates + 1, current
end

local start, slots, after, within = math.max(now, requests, tokens, from), 0, 0, 0
if wanted > 0 and step > 0 then
    local share = step * math.max(gates, gates_before, 1)
    if start > now + HORIZON then
        after, within = start - now - HORIZON, share / 4
    else
        slots = math.floor(math.min(wanted, math.max(BLOCK / share, 1)))
        requests = start + (slots - 1) * step + for_request
        tokens = math.max(tokens, start - BURST) + slots * each * for_token
    end
elseif wanted > 0 then
    slots = wanted
end
redis.call('HSET', KEYS[1], 'r', whole(math.ceil(requests)), 'k', whole(math.ceil(tokens)), 's', whole(math.ceil(from)),
    'e', whole(this_epoch), 'c', whole(gates), 'p', whole(gates_before))
redis.call('EXPIRE', KEYS[1], ARGV[2])

local turn, wants_probe = tonumber(ARGV[9]), ARGV[10] == '1'
local gate = redis.call('HMGET', KEYS[2], 'v', 'h', 'b')
local version, is_closed, probe = tonumber(gate[1] or 0), tonumber(gate[2] or 0), tonumber(gate[3] or 0)
if turn > 0 then
    version, is_closed = version + 1, turn == 1 and 1 or 0
end
local probe_after = math.max(probe - now, 0)
if wants_probe and probe_after == 0 then
    probe = now + PROBE_EVERY
end
if turn > 0 or wants_probe then
    redis.call('HSET', KEYS[2], 'v', whole(version), 'h', whole(is_closed), 'b', whole(probe))
    redis.call('EXPIRE', KEYS[2], ARGV[2])
end
return {epoch, math.max(gates, gates_before, 1), math.ceil(start - now), math.ceil(step), slots, math.ceil(after), math.ceil(within),
    version, is_closed, math.ceil(probe_after)}
