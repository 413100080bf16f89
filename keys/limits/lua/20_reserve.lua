-- All or nothing: every limit of every scope is checked before anything is taken.
local function limit_of(kind, spec)
  local limit = spec[kind.limit]
  if limit == -1 then return nil end
  return limit
end

-- The kinds of limits that a scope has, found once for each batch.
local actives = {}

local function active_of(spec)
  local active = actives[spec]
  if active then return active end
  active = {}
  for k = 1, #KINDS do
    if limit_of(KINDS[k], spec) then active[#active + 1] = KINDS[k] end
  end
  actives[spec] = active
  return active
end

-- Only what is limited is counted. If a limit is no longer set, its count is dropped.
local adopted = {}

local function adopt(state, spec, key)
  if adopted[state] ~= spec then
    adopted[state] = spec
    for k = 1, #KINDS do
      local place = KINDS[k].place
      if not limit_of(KINDS[k], spec) and state[place] then state[place], dirty[key] = false, true end
    end
  end
  if spec[L_BUDGET] ~= -1 then
    local was = state[BUDGET]
    if was and was[B_START] == spec[L_START] and was[B_END] == spec[L_END] and was[B_PERIOD] == spec[L_PERIOD] then
      return
    end
    state[BUDGET] = current(was, spec)
    if was and was ~= state[BUDGET] then dirty[key] = true end
  end
end

-- The status of the scope with the least left: {limit, remaining, microseconds until all is free}, or false.
local function least(window, limit, found)
  local remaining = math.max(0, limit - window[2])
  if found and found[2] <= remaining then return found end
  local size = #window
  local reset = size >= 5 and math.max(0, window[size - 1] + WINDOW - now) or 0
  return {limit, remaining, reset}
end

local EMPTY = {0, 0}

local function standings(specs, asked)
  local of_requests, of_tokens, of_budget, left = false, false, false, nil
  for _, i in ipairs(asked) do
    local spec = specs[i + 1]
    local state = load(KEYS[spec[L_KEY]])
    if spec[L_RPM] ~= -1 then of_requests = least(state[RPM] or EMPTY, spec[L_RPM], of_requests) end
    if spec[L_TPM] ~= -1 then of_tokens = least(state[TPM] or EMPTY, spec[L_TPM], of_tokens) end
    local budget = spec[L_BUDGET] ~= -1 and state[BUDGET]
    if budget then
      local back = reserved(budget)
      local remaining = minus(spec[L_BUDGET], plus(budget[B_SPENT], back))
      if not left or less(remaining, left) then
        left = remaining
        of_budget = {spec[L_BUDGET], budget[B_SPENT], back, budget[B_END]}
      end
    end
  end
  return {of_requests, of_tokens, of_budget}
end

local function check(specs, ask, asked)
  local refusals, unknown = {}, {}
  for n = 1, #asked do
    local i = asked[n]
    local spec = specs[i + 1]
    local key = KEYS[spec[L_KEY]]
    local state = load(key)
    adopt(state, spec, key)
    local is_unknown = false
    local active = active_of(spec)
    for k = 1, #active do
      local kind = active[k]
      local answer = kind.check(state[kind.place], spec, ask)
      if answer == 'unknown' then is_unknown = true
      elseif answer then refusals[#refusals + 1] = {i, answer} end
    end
    if is_unknown then unknown[#unknown + 1] = i end
  end
  return refusals, unknown
end

local function longest(refusals)
  local found
  for _, one in ipairs(refusals) do
    local is, was = one[2], found and found[2]
    if not found or (was[5] ~= 'never' and (is[5] == 'never' or is[6] > was[6])) then found = one end
  end
  return found
end

-- How a kind of limit is taken if the request is not new. 'again': our lease had ended, and only what is held until the
-- end is taken. 'late': the request began while its process could not reach Redis, and is recorded for the first time.
local function way(kind, state, manner)
  if manner == 'late' and kind.unheld and not kind.restore and kind.place ~= TPM and state then return kind.take end
  return kind.restore
end

-- What this process holds: a record for each group of requests that were admitted together, by the number of the first:
-- {since, parts, requests}, with {requests, tokens, cost, bounded} for each. A batch reads and writes each record once.
local records, changed = {}, {}
local M_REQUESTS, M_TOKENS, M_COST, M_BOUNDED = 1, 2, 3, 4

local function record_of(number)
  local record = records[number]
  if record == nil then
    local stored = redis.call('HGET', KEYS[3], number)
    record = stored and cmsgpack.unpack(stored) or false
    records[number] = record
  end
  return record
end

-- The record with a request: that of its group, or its own if it was restored.
local function record_with(own, number)
  local record = record_of(number)
  if record and record[3][tostring(own)] then return record, number end
  record = own ~= number and record_of(own)
  if record and record[3][tostring(own)] then return record, own end
  return nil
end

local function store_records()
  for number in pairs(changed) do
    local record = records[number]
    if next(record[3]) then redis.call('HSET', KEYS[3], number, cmsgpack.pack(record))
    else redis.call('HDEL', KEYS[3], number) end
  end
end

local function take(specs, ask, asked, number, members, manner)
  local parts, ends, anew = {}, false, manner == 'anew'
  for n = 1, #asked do
    local spec = specs[asked[n] + 1]
    local key = KEYS[spec[L_KEY]]
    local state = load(key)
    local part = {key, 0, 0, 0, 0, 0, 0, 0}
    for mark = 9, marks do part[mark] = 0 end
    local active = active_of(spec)
    for k = 1, #active do
      local kind = active[k]
      local place = kind.place
      local act = anew and kind.take or not anew and way(kind, state[place], manner)
      if act then
        state[place] = act(state[place], spec, ask, part)
        ends = ends or kind.settle ~= nil
      end
    end
    dirty[key] = true
    parts[n] = part
  end
  if ends then records[number], changed[number] = {now, parts, members}, true end
end

-- The fields of a request: its number, then what it asks for.
local A_NUMBER, A_REQUESTS, A_TOKENS, A_USD, A_PICO, A_BOUNDED = 1, 2, 3, 4, 5, 6

local function ask_of(asks, first, last)
  local requests, tokens, bounded, open, open_count, cost = 0, 0, NOTHING, NOTHING, 0, NOTHING
  for i = first, last do
    local one = asks[i]
    cost = {one[A_USD], one[A_PICO]}
    requests, tokens = requests + one[A_REQUESTS], tokens + one[A_TOKENS]
    if one[A_BOUNDED] then bounded = plus(bounded, cost)
    else open, open_count = plus(open, cost), open_count + 1 end
  end
  return {
    requests = requests, tokens = tokens, bounded_cost = bounded, open = open, open_count = open_count,
    count = last - first + 1, cost = cost, bounded = asks[last][A_BOUNDED],  -- these two are for a single request
  }
end

local function members_of(asks, first, last)
  local members = {}
  for i = first, last do
    local one = asks[i]
    -- The key is a text, because a table with numbers alone might be packed as an array with holes.
    members[tostring(one[A_NUMBER])] = {one[A_REQUESTS], one[A_TOKENS], {one[A_USD], one[A_PICO]}, one[A_BOUNDED]}
  end
  return members
end

local function reserve_one(asks, i, asked, specs)
  local ask = ask_of(asks, i, i)
  local refusals, unknown = check(specs, ask, asked)
  if #unknown > 0 then return {'unknown', unknown} end
  local refused = longest(refusals)
  if refused then return {'refused', refused[1], refused[2], standings(specs, asked)} end
  take(specs, ask, asked, asks[i][A_NUMBER], members_of(asks, i, i), 'anew')
  return {'held', standings(specs, asked)}
end

-- {'reserve', scopes, asks}: requests of the same scopes. If there is room for all of them together, there is room for
-- each in turn, and they are taken as one. Otherwise each is decided by itself.
local function reserve(op, specs)
  local asked, asks = op[2], op[3]
  if #asks > 1 then
    local ask = ask_of(asks, 1, #asks)
    local refusals, unknown = check(specs, ask, asked)
    if #refusals == 0 and #unknown == 0 then
      take(specs, ask, asked, asks[1][A_NUMBER], members_of(asks, 1, #asks), 'anew')
      return {'all', standings(specs, asked)}
    end
  end
  local answers = {}
  for i = 1, #asks do answers[i] = reserve_one(asks, i, asked, specs) end
  return {'each', answers}
end

-- {'restore', scopes, ask, the number of its record, when it was reserved, 'again' or 'late'}
local function restore(op, specs)
  local asks, own = {op[3]}, op[3][A_NUMBER]
  if record_with(own, op[4]) then return end
  local here = now
  now = op[5]
  take(specs, ask_of(asks, 1, 1), op[2], own, members_of(asks, 1, 1), op[6])
  now = here
end
