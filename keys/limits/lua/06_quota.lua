-- Requests per UTC day {birth, day, used} and in all {birth, used}, as in counters/quota.py. No state: not known.
local function turn(state)
  local day = math.floor(now / DAY)
  if day > state[2] then state[2], state[3] = day, 0 end
  return day >= state[2] - 1  -- else the clock was set far back
end

add_kind({
  limit = L_DAILY,
  keep = PAST_MS,
  check = function(state, spec, ask)
    if not state or not turn(state) then return 'unknown' end
    local limit, n = spec[L_DAILY], ask.requests
    if state[3] + n <= limit or n == 0 then return nil end
    local midnight = (state[2] + 1) * DAY
    return refusal('daily', limit, state[3], n, n <= limit and 'time' or 'never', midnight - now, midnight)
  end,
  take = function(state, spec, ask, part)
    state[3] = state[3] + ask.requests
    part[P_DAY_BIRTH], part[P_DAY] = state[1], state[2]
    return state
  end,
  settle = function(state, part, ended)
    if part[P_DAY_BIRTH] == state[1] and part[P_DAY] == state[2] then
      state[3] = math.max(0, state[3] + ended.more_requests)
    end
  end,
  unheld = function(state, held, used)
    if used.requests >= 0 and math.floor(held.at / DAY) == state[2] then
      state[3] = math.max(0, state[3] + used.requests - held.requests)
    end
  end,
})

add_kind({
  limit = L_MAX_REQUESTS,
  keep = PAST_MS,
  check = function(state, spec, ask)
    if not state then return 'unknown' end
    local limit, n = spec[L_MAX_REQUESTS], ask.requests
    if state[2] + n <= limit or n == 0 then return nil end
    return refusal('max_requests', limit, state[2], n, 'never', 0)
  end,
  take = function(state, spec, ask, part)
    state[2] = state[2] + ask.requests
    part[P_LIFETIME] = state[1]
    return state
  end,
  settle = function(state, part, ended)
    if part[P_LIFETIME] == state[1] then state[2] = math.max(0, state[2] + ended.more_requests) end
  end,
  unheld = function(state, held, used)
    if used.requests >= 0 then state[2] = math.max(0, state[2] + used.requests - held.requests) end
  end,
})
