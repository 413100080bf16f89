-- Money, as in counters/budget.py.
local B_BIRTH, B_KNOWN, B_PERIOD, B_START, B_END, B_SPENT, B_BOUNDED, B_OPEN, B_COUNT, B_DEAREST, B_RUNNING = 1, 2, 3, 4, 5,
  6, 7, 8, 9, 10, 11
local B_LIMIT, B_THRESHOLD = 12, 13
local NOTHING = {0, 0}

local function new_budget(period, start, ending, known)
  return {0, known, period, start, ending, NOTHING, NOTHING, NOTHING, 0, NOTHING, 0, NOTHING, NOTHING}
end

local function reserved_of(bounded, open, count, dearest)
  if count == 0 then return bounded end
  return plus(bounded, larger(open, times(dearest, count)))
end

local function reserved(state)
  return reserved_of(state[B_BOUNDED], state[B_OPEN], state[B_COUNT], state[B_DEAREST])
end

-- Whether several requests fit in one after the other: the budget is not reached, even after the last of them.
local function fit(state, limit, ask)
  local open, count = plus(state[B_OPEN], ask.open), state[B_COUNT] + ask.open_count
  local back = reserved_of(plus(state[B_BOUNDED], ask.bounded_cost), open, count, state[B_DEAREST])
  return less(plus(state[B_SPENT], back), limit)
end

-- The counter for the period in `spec`. A later period begins at nothing; after another kind of period nothing is
-- known.
local function current(state, spec)
  if not state or state[B_PERIOD] ~= spec[L_PERIOD] then
    return new_budget(spec[L_PERIOD], spec[L_START], spec[L_END], false)
  end
  if spec[L_START] > state[B_START] then
    return new_budget(spec[L_PERIOD], spec[L_START], spec[L_END], state[B_KNOWN])
  elseif spec[L_START] == state[B_START] then
    state[B_END] = spec[L_END]
  elseif not state[B_KNOWN] or now < state[B_START] - DAY then
    return new_budget(spec[L_PERIOD], spec[L_START], spec[L_END], false)
  end
  return state
end

local function crosses(state, cost)
  local before, threshold = state[B_SPENT], state[B_THRESHOLD]
  return less(before, threshold) and not less(plus(before, cost), threshold)
end

local function spend(state, cost, key)
  local is_told = crosses(state, cost)
  state[B_SPENT] = plus(state[B_SPENT], cost)
  if is_told then
    crossings[#crossings + 1] = {key, state[B_LIMIT], state[B_SPENT], state[B_PERIOD], state[B_START]}
  end
end

local function budget_refusal(state, limit, ask, committed)
  local spent, resets = state[B_SPENT], state[B_END]
  local surely = ask.bounded and ask.cost or NOTHING
  local cure, wait = 'time', resets - now
  if less(limit, surely) or not less(NOTHING, limit) then cure, wait = 'never', 0
  elseif less(spent, limit) and not less(limit, plus(spent, surely)) then cure, wait = 'others', IN_FLIGHT_WAIT
  elseif resets < 0 then cure, wait = 'never', 0 end
  return refusal('budget', limit, committed, ask.cost, cure, math.max(0, wait), resets, spent)
end

local function hold(state, spec, ask, part)
  if state[B_BIRTH] == 0 then state[B_BIRTH] = birth() end
  state[B_LIMIT], state[B_THRESHOLD] = spec[L_BUDGET], spec[L_THRESHOLD]
  state[B_RUNNING] = state[B_RUNNING] + ask.count
  state[B_BOUNDED] = plus(state[B_BOUNDED], ask.bounded_cost)
  if ask.open_count > 0 then
    state[B_OPEN] = plus(state[B_OPEN], ask.open)
    state[B_COUNT] = state[B_COUNT] + ask.open_count
  end
  part[P_BUDGET] = state[B_BIRTH]
  return state
end

add_kind({
  limit = L_BUDGET,
  keep = function(state) return state[B_RUNNING] > 0 and RUNNING_MS or PAST_MS end,
  check = function(state, spec, ask)
    if not state[B_KNOWN] then return 'unknown' end
    local limit = spec[L_BUDGET]
    if ask.count > 1 then return not fit(state, limit, ask) and 'not together' or nil end
    local committed = plus(state[B_SPENT], reserved(state))
    if less(committed, limit) and not (ask.bounded and less(limit, plus(committed, ask.cost))) then return nil end
    return budget_refusal(state, limit, ask, committed)
  end,
  take = hold,
  restore = function(state, spec, ask, part) return hold(current(state, spec), spec, ask, part) end,
  settle = function(state, part, ended, key)
    local is_held = part[P_BUDGET] ~= 0 and part[P_BUDGET] == state[B_BIRTH]
    if is_held then
      state[B_RUNNING] = math.max(0, state[B_RUNNING] - ended.count)
      state[B_BOUNDED] = minus(state[B_BOUNDED], ended.bounded)
      if ended.open_count > 0 then
        state[B_OPEN] = minus(state[B_OPEN], ended.open)
        state[B_COUNT] = math.max(0, state[B_COUNT] - ended.open_count)
        state[B_DEAREST] = larger(state[B_DEAREST], ended.dearest)
      end
    end
    if state[B_KNOWN] and (is_held or ended.at >= state[B_START]) then
      -- If one of them passes the threshold, they are spent one by one, so that the alert tells what was spent after
      -- that one.
      if crosses(state, ended.cost) then
        for _, cost in ipairs(ended.costs) do spend(state, cost, key) end
      else
        state[B_SPENT] = plus(state[B_SPENT], ended.cost)
      end
    end
  end,
  unheld = function(state, held, used, key)
    if state[B_KNOWN] and held.at >= state[B_START] then spend(state, used.cost, key) end
  end,
})
