-- One batch of one process, decided in order.
-- KEYS: epoch, leases, what the process holds, the process, serial numbers, the last return, then the scopes' states.
-- All carry one hash tag, because one decision over several scopes needs them in one slot of a cluster. The script
-- builds the key of what a killed process held itself: it is not among KEYS, and is in the same slot. Returns {outcome,
-- epoch, last batch applied, the one before this, 1 if the lease had ended, now, answers, crossings, what is known of
-- each scope}.
local batch = cmsgpack.unpack(ARGV[1])
local process, session, number, epoch_seen, new_epoch = batch[1], batch[2], batch[3], batch[4], batch[5]
local lease, held_prefix, specs, ops = batch[7], batch[8], batch[9], batch[10]
for i, numbered in ipairs(specs) do
  local spec = numbered[2]
  spec[L_KEY] = numbered[1]
  specs[i] = spec
end
now = batch[6]
if now == 0 then
  -- Redis' own clock, because hosts' clocks differ.
  local time = redis.call('TIME')
  now = time[1] * 1e6 + time[2]
end

local epoch = redis.call('GET', KEYS[1])
if not epoch then
  epoch = new_epoch
  redis.call('SET', KEYS[1], epoch)
  redis.call('SET', KEYS[5], string.format('%.0f', now))
end

local stored_session, applied, before = 0, 0, 0
local stored = redis.call('GET', KEYS[4])
if stored then
  local both = cmsgpack.unpack(stored)
  stored_session, applied, before = both[1], both[2], both[2]
end
-- A connection that was given up may still have a batch in its buffer, but its requests have been decided otherwise.
if session < stored_session then return cmsgpack.pack({'late', epoch, applied, before, 0, now}) end
if session == stored_session and number <= applied then return cmsgpack.pack({'late', epoch, applied, before, 0, now}) end

-- Every session of a process except its first is a return after an outage.
if session > stored_session and session > 1 then
  redis.call('SET', KEYS[6], string.format('%.0f', now), 'PX', RETURNING / 1e3)
end

local ends = redis.call('ZSCORE', KEYS[2], process)
local lost = (not ends or tonumber(ends) <= now) and 1 or 0
if lost == 1 or tonumber(ends) < now + lease * 2 / 3 then
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + lease), process)
end
bury(held_prefix)

local outcome, answers, known = 'done', {}, {}
if epoch ~= epoch_seen then
  outcome = 'another epoch'
else
  for i, op in ipairs(ops) do
    local verb = op[1]
    local answer = false
    if verb == 'reserve' then answer = reserve(op, specs)
    elseif verb == 'settle' then settle(op)
    elseif verb == 'cancel' then cancel(op)
    elseif verb == 'restore' then restore(op, specs)
    elseif verb == 'load' then load_baseline(op)
    elseif verb == 'raise' then raise(op)
    elseif verb == 'spent' then spent(op) end
    answers[i] = answer
  end
  applied = number
  for i, spec in ipairs(specs) do
    local state = states[KEYS[spec[L_KEY]]]
    local budget, today, total = state and state[BUDGET], state and state[DAILY], state and state[LIFETIME]
    known[i] = {
      budget and budget[B_KNOWN] and budget[B_SPENT] or false,
      budget and budget[B_START] or 0,
      total and total[2] or false,
      today and today[3] or false,
      today and today[2] or 0,
    }
  end
end
store_records()
store()
redis.call('SET', KEYS[4], cmsgpack.pack({session, applied}), 'PX', 86400000)
return cmsgpack.pack({outcome, epoch, applied, before, lost, now, answers, crossings, known})
