-- What is known of a scope is one string: an array with a place for each kind of limit, or false. A batch reads each
-- scope once and writes it once, however many of its requests share it.
local RPM, TPM, RPS, PARALLEL, DAILY, LIFETIME, BUDGET = 1, 2, 3, 4, 5, 6, 7
local SECOND, DAY = 1e6, 86400e6
local IDLE_MS, PAST_MS, TOKENS_MS, RUNNING_MS = 120e3, 600e3, 3600e3, 86400e3

-- A scope's limits as Python sends them (`Wording` in operations.py); -1: no limit.
local L_KEY, L_RPM, L_TPM, L_RPS, L_BURST, L_PARALLEL, L_DAILY, L_LIFETIME = 1, 2, 3, 4, 5, 6, 7, 8
local L_BUDGET, L_THRESHOLD, L_PERIOD, L_START, L_END = 9, 10, 11, 12, 13

-- What a running request has of a scope; 0: nothing of it.
local P_KEY, P_SLOTS, P_TOKENS, P_FIRST, P_DAY_BIRTH, P_DAY, P_LIFETIME, P_BUDGET = 1, 2, 3, 4, 5, 6, 7, 8

local states, dirty, crossings, now = {}, {}, {}, 0

local function load(key)
  local state = states[key]
  if state == nil then
    local stored = redis.call('GET', key)
    state = stored and cmsgpack.unpack(stored) or {false, false, false, false, false, false, false}
    states[key] = state
  end
  return state
end

-- A number that marks what was begun anew, so that a late settlement does not take it for what was there before.
local function birth()
  return redis.call('INCR', KEYS[5])
end

local function ttl_of(state)
  local slots, budget, bucket = state[PARALLEL], state[BUDGET], state[RPS]
  if (slots and slots[2] > 0) or (budget and budget[11] > 0) then return RUNNING_MS end
  -- Who has reserved tokens is not counted here: what a request used beyond them must find its window when it ends.
  if state[TPM] then return TOKENS_MS end
  if budget or state[DAILY] or state[LIFETIME] then return PAST_MS end
  -- The bucket's third is the rate that it was last asked with.
  if bucket and bucket[3] > 0 then return math.max(IDLE_MS, math.ceil(bucket[1] / bucket[3] / 1e3)) end
  return IDLE_MS
end

local function store()
  for key in pairs(dirty) do
    local state = states[key]
    local empty = true
    for place = 1, 7 do empty = empty and not state[place] end
    if empty then redis.call('DEL', key)
    else redis.call('SET', key, cmsgpack.pack(state), 'PX', ttl_of(state)) end
  end
end

-- {kind, limit, used, asked, cure, wait, resets, spent}
local function refusal(kind, limit, used, asked, cure, wait, resets, spent)
  return {kind, limit, used, asked, cure, wait, resets or -1, spent or 0}
end
