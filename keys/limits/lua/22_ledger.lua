-- Numbers from outside: the ledger's totals, and what a process spent while it could not reach Redis.

-- {'load', key, period, start, spent, requests in all, day, requests today}: set what is unknown.
local function load_baseline(op)
  local key = KEYS[op[2]]
  local state = load(key)
  dirty[key] = true
  adopted[state] = nil  -- so that what is not limited is dropped again, also later in this batch
  state[LIFETIME] = state[LIFETIME] or {birth(), op[6]}
  local today = state[DAILY]
  if op[7] == math.floor(now / DAY) and (not today or not turn(today)) then
    state[DAILY] = {birth(), op[7], op[8]}
  end
  local budget = state[BUDGET]
  if not budget or (not budget[B_KNOWN] and (budget[B_PERIOD] ~= op[3] or budget[B_START] ~= op[4])) then
    budget = new_budget(op[3], op[4], -1, false)
    state[BUDGET] = budget
  end
  if not budget[B_KNOWN] then budget[B_SPENT], budget[B_KNOWN] = op[5], true end
end

-- After an outage the ledger may include what a process spent that has yet to return and report it. If counters were
-- raised then, it would count twice.
local RETURNING = 5e6

local function are_returning()
  local at = tonumber(redis.call('GET', KEYS[6]) or 0)
  return now < at + RETURNING
end

-- {'raise', the same}: raise what is lower.
local function raise(op)
  if are_returning() then return end
  local key = KEYS[op[2]]
  local state = load(key)
  dirty[key] = true
  local budget, today, total = state[BUDGET], state[DAILY], state[LIFETIME]
  if budget and budget[B_KNOWN] and budget[B_PERIOD] == op[3] and budget[B_START] == op[4]
    and less(budget[B_SPENT], op[5]) then
    spend(budget, minus(op[5], budget[B_SPENT]), key)
  end
  if total then total[2] = math.max(total[2], op[6]) end
  if today and today[2] == op[7] then today[3] = math.max(today[3], op[8]) end
end

-- {'spent', the same}: add this. A counter that is not known here will get it from the ledger.
local function spent(op)
  local key = KEYS[op[2]]
  local state = load(key)
  dirty[key] = true
  local budget, today, total = state[BUDGET], state[DAILY], state[LIFETIME]
  if budget and budget[B_KNOWN] and budget[B_PERIOD] == op[3] and budget[B_START] == op[4] then
    spend(budget, op[5], key)
  end
  if total then total[2] = math.max(0, total[2] + op[6]) end
  if today and today[2] == op[7] then today[3] = math.max(0, today[3] + op[8]) end
end
