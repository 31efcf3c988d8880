-- Reserves what requests of an account need, and passes on what its gates have found out. KEYS: account, gate, members. ARGV: 1 if the
-- server did not know this script, as after a restart; seconds kept; then of the gate: epoch of its last reservation; requests wanted;
-- tokens for each; tokens used beyond those reserved; rpm; tpm; its turn (1: closed, 2: opened); 1 if it wants to probe; rpd; slots that
-- lapsed; concurrent; its process; requests in flight there; requests that would be in flight without a limit; of what is learnt:
-- the id of the gate in its process; 1 if it joins; millionths of requests a second; requests in flight. A limit of 0 is none.
-- Returns {epoch, gates that reserve slots, microseconds from now to the first slot, from each slot to the next, slots, microseconds
-- before asking again, and within which to ask; turns so far, 1 if the last one closed the account, microseconds before the gate may
-- probe; microseconds until the next day if the requests of this one are used up; requests that may be in flight; other processes
-- in which the gate is in use; millionths by which its learnt rate changes; millionths of requests a second to start with; requests in
-- flight to start with}.
-- The account is a hash; times are in microseconds: r, k = when the requests and the tokens reserved so far have been paid for,
-- s = no slot before, e = epoch, c, p = gates that reserved slots in it and in the one before, d = start of the day, n = requests of it,
-- m = nothing more in flight before. The gate is a hash: v = turns so far, h = 1 if the last one closed the account, b = no probe
-- before, n = processes in which it is in use, l = they are not counted again before; and for each of them what it has learnt: kept
-- until when, rate, the change of it that is not reported yet, requests in flight.
-- The members are a hash: for each process what it may have in flight, until when, and what it would have.
-- A slot may be used until VALID after its time: slots that are spaced for a minute and VALID keep every minute within the limit.
-- Tokens that are not used are kept for BURST. A process stops using what it may have in flight before LEASE is over.
local VALID, HORIZON, BLOCK, BURST, EPOCH, MINUTE = 1000000, 1000000, 700000, 200000, 5000000, 60000000
local PROBE_EVERY, DAY, LEASE, REPORTED, LOOK_EVERY = 1000000, 86400000000, 5000000, 2000000, 1000000
local REMEMBERED, ONE = 3600000000, 1000000
local argument = {}
for i = 3, 13 do
    argument[i] = tonumber(ARGV[i])
end
local epoch, wanted, each, debt, rpm, tpm = unpack(argument, 3, 8)
local turn, wants_probe, rpd, lapsed, concurrent = argument[9], argument[10] == 1, argument[11], argument[12], argument[13]
local process, in_flight, would_have = ARGV[14], tonumber(ARGV[15]), tonumber(ARGV[16])
local id, joins, rate, level = ARGV[17], ARGV[18] == '1', tonumber(ARGV[19]), tonumber(ARGV[20])
local now = micros()
local known = redis.call('HMGET', KEYS[1], 'r', 'k', 's', 'e', 'c', 'p', 'd', 'n', 'm')
local is_new = ARGV[1] == '1' or not known[1]
for i = 1, 9 do
    known[i] = tonumber(known[i] or 0)
end
local requests, tokens, from, this_epoch, gates, gates_before, day, of_day, members_from = unpack(known, 1, 9)

local for_request = rpm > 0 and (MINUTE + VALID) / rpm or 0
local for_token = tpm > 0 and (MINUTE + VALID + BURST) / tpm or 0
local step = math.max(for_request, each * for_token)

-- Slots may have been reserved that are not known here: none is later than the horizon and a block. Requests in flight have been reported
-- after a while.
if is_new then
    from = math.max(from, now + HORIZON + BLOCK + step)
    members_from = now + REPORTED
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

local day_reset = 0
if rpd > 0 then
    of_day = math.max(of_day - lapsed, 0)
    if now - day >= DAY then
        day, of_day = now, 0
    end
    if wanted > 0 and of_day >= rpd then
        day_reset = day + DAY - now
    end
    wanted = math.min(wanted, math.max(rpd - of_day, 0))
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
of_day = of_day + slots
redis.call('HSET', KEYS[1], 'r', whole(math.ceil(requests)), 'k', whole(math.ceil(tokens)), 's', whole(math.ceil(from)),
    'e', whole(this_epoch), 'c', whole(gates), 'p', whole(gates_before), 'd', whole(day), 'n', whole(of_day), 'm', whole(members_from))
redis.call('EXPIRE', KEYS[1], ARGV[2])

local gate = redis.call('HMGET', KEYS[2], 'v', 'h', 'b', 'l', 'n', id)
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
end

-- The learnt rates add up to what the account allows. One that joins starts at the mean, taken from the others, and what one had that is
-- gone goes to the rest. Each gets the change of its rate with its next report.
local function learnt(text)
    local till, has, change, busy = string.match(text or '', '^(%d+) (%d+) (%d+) (%d+)$')
    return till and {till = tonumber(till), rate = tonumber(has), change = tonumber(change), level = tonumber(busy)}
end
local function keep(name, of)
    local numbers = whole(of.till) .. ' ' .. whole(of.rate) .. ' ' .. whole(of.change) .. ' ' .. whole(of.level)
    redis.call('HSET', KEYS[2], name, numbers)
end
local own, in_use, change, first_rate, first_level = learnt(gate[6]), tonumber(gate[5] or 1), ONE, 0, 0
local has_own = own and now < own.till
if has_own then
    rate, change = joins and own.rate or rate * own.change / ONE, own.change
end
if joins or not has_own or now >= tonumber(gate[4] or 0) then
    -- One that has not paused is missing here only if Redis was away or has lost it. Then the others may be in use, too.
    local was_away = not has_own and not joins
    local others, sum, rates, gone, levels, busy, scale = {}, 0, 0, 0, 0, 0, 1
    local fields = redis.call('HGETALL', KEYS[2])
    for i = 1, #fields, 2 do
        local other = learnt(fields[i + 1])
        if other and not was_away and now >= other.till then
            redis.call('HDEL', KEYS[2], fields[i])
            gone = gone + (now < other.till + REMEMBERED and other.rate or 0)
        elseif other and fields[i] ~= id then
            others[#others + 1] = {name = fields[i], of = other}
            sum, rates = sum + other.rate, rates + (other.rate > 0 and 1 or 0)
            levels, busy = levels + other.level, busy + (other.level > 0 and 1 or 0)
        end
    end
    if has_own and gone > 0 and sum + rate > 0 then
        scale = (sum + rate + gone) / (sum + rate)
        rate, change = rate * scale, change * scale
    elseif joins and not has_own and sum + gone > 0 then
        rate = (sum + gone) / (rates + 1)
        scale = sum > 0 and (sum + gone - rate) / sum or 1
    end
    if joins then
        first_rate, first_level = rate, busy > 0 and math.floor(levels / busy + 0.5) or 0
    end
    for _, other in ipairs(others) do
        if scale ~= 1 or was_away then
            local of = other.of
            of.till = was_away and now + LEASE or of.till
            of.rate, of.change = of.rate * scale, of.change * scale
            keep(other.name, of)
        end
    end
    in_use = #others + 1
    redis.call('HSET', KEYS[2], 'l', whole(now + LOOK_EVERY), 'n', whole(in_use))
end
keep(id, {till = now + LEASE, rate = rate, change = ONE, level = level})
redis.call('EXPIRE', KEYS[2], ARGV[2])

-- Each process gets what it would have in flight, as far as the others leave it, and no more than its share while another one wants more.
local may_have = 0
if concurrent > 0 then
    local others, processes, is_wanted = 0, 1, false
    local members = redis.call('HGETALL', KEYS[3])
    for i = 1, #members, 2 do
        local has, till, would = string.match(members[i + 1], '^(%d+) (%d+) (%d+)$')
        if members[i] ~= process and now < tonumber(till) then
            others, processes = others + has, processes + 1
            is_wanted = is_wanted or tonumber(would) > tonumber(has)
        elseif members[i] ~= process then
            redis.call('HDEL', KEYS[3], members[i])
        end
    end
    may_have = math.min(would_have, math.max(concurrent - others, 0))
    if is_wanted then
        may_have = math.min(may_have, math.ceil(concurrent / processes))
    end
    if now < members_from then
        may_have = 0
    end
    local has = math.max(may_have, in_flight)
    redis.call('HSET', KEYS[3], process, whole(has) .. ' ' .. whole(now + LEASE) .. ' ' .. whole(would_have))
    redis.call('EXPIRE', KEYS[3], ARGV[2])
end
return {epoch, math.max(gates, gates_before, 1), math.ceil(start - now), math.ceil(step), slots, math.ceil(after), math.ceil(within),
    version, is_closed, math.ceil(probe_after), math.ceil(day_reset), may_have, in_use - 1,
    math.floor(change + 0.5), math.ceil(first_rate), first_level}
