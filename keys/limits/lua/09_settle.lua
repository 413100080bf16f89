local ENDING = {tokens, slots, daily, lifetime, budgets}

-- Turn what was reserved into what was used, once.
local function apply(stored, used)
  local held = {at = stored[1], requests = stored[2], tokens = stored[3], cost = stored[4], bounded = stored[5]}
  for _, part in ipairs(stored[6]) do
    local key = part[P_KEY]
    local state = load(key)
    for k = 1, #ENDING do
      local kind = ENDING[k]
      local counted = state[kind.place]
      if counted then
        kind.settle(counted, part, held, used, key)
        dirty[key] = true
      end
    end
  end
end

local function take_out(id)
  local stored = redis.call('HGET', KEYS[3], id)
  if not stored then return nil end
  redis.call('HDEL', KEYS[3], id)
  return cmsgpack.unpack(stored)
end

-- {'cancel', id}: as if it had never been asked for, where it was granted at all.
local function cancel(op)
  local stored = take_out(op[2])
  if stored then apply(stored, {tokens = 0, cost = NOTHING, requests = 0}) end
end

-- {'settle', id, tokens, cost, requests or -1, keys, taken at, requests asked}
local function settle(op)
  local used = {tokens = op[3], cost = op[4], requests = op[5]}
  local stored = take_out(op[2])
  if stored then return apply(stored, used) end
  -- Our lease had ended and what was held has been given back. What was used still counts.
  local held = {at = op[7], requests = op[8]}
  for _, i in ipairs(op[6]) do
    local key = KEYS[i]
    local state = load(key)
    for _, kind in ipairs(KINDS) do
      local counted = state[kind.place]
      if counted and kind.unheld then
        kind.unheld(counted, held, used, key)
        dirty[key] = true
      end
    end
  end
end

-- What a process held whose lease has ended comes back; what its requests cost comes from the ledger.
local NOTHING_USED = {tokens = 0, cost = NOTHING, requests = -1}
local AT_ONCE = 1000

local function bury(prefix)
  for _, process in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 8)) do
    local key = prefix .. process
    local some = redis.call('HSCAN', key, 0, 'COUNT', AT_ONCE)[2]
    for i = 1, #some, 2 do
      redis.call('HDEL', key, some[i])
      apply(cmsgpack.unpack(some[i + 1]), NOTHING_USED)
    end
    if redis.call('EXISTS', key) == 0 then redis.call('ZREM', KEYS[2], process) end
  end
end
