-- What requests of one record used, added up: tokens and requests beyond what they held, what they give back, and their
-- costs.
local function nothing_ended(record)
  return {
    at = record[1], count = 0, more_tokens = 0, tokens_back = 0, more_requests = 0,
    bounded = NOTHING, open = NOTHING, open_count = 0, dearest = NOTHING, cost = NOTHING, costs = {},
  }
end

local function add_end(ended, member, tokens, cost, requests)
  ended.count = ended.count + 1
  local more = tokens - member[M_TOKENS]
  if more > 0 then ended.more_tokens = ended.more_tokens + more else ended.tokens_back = ended.tokens_back - more end
  if requests >= 0 then ended.more_requests = ended.more_requests + requests - member[M_REQUESTS] end
  if member[M_BOUNDED] then
    ended.bounded = plus(ended.bounded, member[M_COST])
  else
    ended.open, ended.open_count = plus(ended.open, member[M_COST]), ended.open_count + 1
    ended.dearest = larger(ended.dearest, cost)
  end
  ended.cost = plus(ended.cost, cost)
  ended.costs[ended.count] = cost
end

-- Replace what was reserved by what was used, once.
local function apply(parts, ended)
  for i = 1, #parts do
    local part = parts[i]
    local key = part[P_KEY]
    local state = load(key)
    for k = 1, #ENDING do
      local kind = ENDING[k]
      local counted = state[kind.place]
      if counted then
        kind.settle(counted, part, ended, key)
        dirty[key] = true
      end
    end
  end
end

-- {'cancel', number, the number of its record}: undo the reservation, if it was made.
local function cancel(op)
  local record, number = record_with(op[2], op[3])
  if not record then return end
  local own, ended = tostring(op[2]), nothing_ended(record)
  add_end(ended, record[3][own], 0, NOTHING, 0)
  record[3][own], changed[number] = nil, true
  apply(record[2], ended)
end

-- Our lease had ended, so the reservation has been released. What was used still counts.
local function settle_unheld(keys, used, held)
  for _, i in ipairs(keys) do
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

-- {'settle', keys, requests}, with {number, the number of its record, tokens, USD, picodollars, requests or -1, when it
-- was reserved, requests asked} for each. Requests of one record end together.
local function settle(op)
  local ends, order = {}, {}
  for _, one in ipairs(op[3]) do
    local cost = {one[4], one[5]}
    local record, number = record_with(one[1], one[2])
    if record then
      local own = tostring(one[1])
      if not ends[record] then ends[record], order[#order + 1] = nothing_ended(record), record end
      add_end(ends[record], record[3][own], one[3], cost, one[6])
      record[3][own], changed[number] = nil, true
    else
      settle_unheld(op[2], {tokens = one[3], cost = cost, requests = one[6]}, {at = one[7], requests = one[8]})
    end
  end
  for _, record in ipairs(order) do apply(record[2], ends[record]) end
end

-- Release what processes hold whose lease has ended. What their requests cost comes from the ledger.
local AT_ONCE = 1000

local function bury(prefix)
  for _, process in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 8)) do
    local key = prefix .. process
    local some = redis.call('HSCAN', key, 0, 'COUNT', AT_ONCE)[2]
    for i = 1, #some, 2 do
      redis.call('HDEL', key, some[i])
      local record = cmsgpack.unpack(some[i + 1])
      local ended = nothing_ended(record)
      for _, member in pairs(record[3]) do add_end(ended, member, 0, NOTHING, -1) end
      apply(record[2], ended)
    end
    if redis.call('EXISTS', key) == 0 then redis.call('ZREM', KEYS[2], process) end
  end
end
