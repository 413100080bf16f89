-- Requests at once, as in counters/slots.py: {birth, running}.
local IN_FLIGHT_WAIT = 1e6

local slots = {
  limit = L_PARALLEL,
  keep = function(state) return state[2] > 0 and RUNNING_MS or IDLE_MS end,
  check = function(state, spec, ask)
    local limit, running = spec[L_PARALLEL], state and state[2] or 0
    if running + ask.count <= limit then return nil end
    return refusal('parallel', limit, running, 1, limit > 0 and 'others' or 'never', IN_FLIGHT_WAIT)
  end,
  take = function(state, spec, ask, part)
    state = state or {birth(), 0}
    state[2] = state[2] + ask.count
    part[P_SLOTS] = state[1]
    return state
  end,
  settle = function(state, part, ended)
    if state[1] == part[P_SLOTS] then state[2] = math.max(0, state[2] - ended.count) end
  end,
}
slots.restore = slots.take
add_kind(slots)
