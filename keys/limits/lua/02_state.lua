-- The state of a scope is one string: an array with a place for each kind of limit, false if nothing is counted. A
-- batch reads and writes each scope once, however many of its requests share it.
local RPM, TPM, RPS, PARALLEL, DAILY, LIFETIME, BUDGET = 1, 2, 3, 4, 5, 6, 7
local SECOND, DAY = 1e6, 86400e6
local IDLE_MS, PAST_MS, TOKENS_MS, RUNNING_MS = 120e3, 600e3, 3600e3, 86400e3

-- The members of a part, which is what a running request has taken from one scope; 0: nothing.
local P_KEY, P_SLOTS, P_TOKENS, P_FIRST, P_DAY_BIRTH, P_DAY, P_LIFETIME, P_BUDGET = 1, 2, 3, 4, 5, 6, 7, 8
local marks = 8

-- Returns the index of a new member of parts, for a kind that settles.
local function new_mark()
  marks = marks + 1
  return marks
end

-- Each kind of limit has these members. `state` is what is counted for a scope; false: nothing yet. limit: the index of
-- the limit in `spec`, a scope's limits as Python sends them (SPEC_FIELDS in operations.py; -1: no limit) check(state,
-- spec, ask): nil if there is room, else a refusal, or 'unknown' if a baseline is needed. `ask` is for `count` requests
-- at once; all of them or none. take(state, spec, ask, part): returns the state with them; puts into `part` what
-- `settle` needs keep: for how many milliseconds the state is kept after it was written, or a function of the state
-- These are optional: settle(state, part, ended, key): replace what was reserved by what was used restore(state, spec,
-- ask, part): take it again after the lease had ended, whatever the limit says unheld(state, held, used, key): count
-- what was used by a request whose lease had ended
local KINDS, ENDING = {}, {}

-- Stored states have the places of the kinds in this order, so a new kind comes last.
local function add_kind(kind)
  KINDS[#KINDS + 1] = kind
  kind.place = #KINDS
  if kind.settle then ENDING[#ENDING + 1] = kind end
end

local states, dirty, crossings, now = {}, {}, {}, 0

local function load(key)
  local state = states[key]
  if state == nil then
    local stored = redis.call('GET', key)
    state = stored and cmsgpack.unpack(stored) or {}
    for place = #state + 1, #KINDS do state[place] = false end
    states[key] = state
  end
  return state
end

-- A number for what begins anew, so that a late settlement does not take it for what was there before.
local function birth()
  return redis.call('INCR', KEYS[5])
end

-- How long the state is kept: as long as its kinds need it at most; 0: there is nothing to keep.
local function ttl_of(state)
  local longest = 0
  for place = 1, #KINDS do
    local counted = state[place]
    if counted then
      local keep = KINDS[place].keep
      if type(keep) == 'function' then keep = keep(counted) end
      if keep > longest then longest = keep end
    end
  end
  return longest
end

local function store()
  for key in pairs(dirty) do
    local state = states[key]
    local ttl = ttl_of(state)
    if ttl == 0 then redis.call('DEL', key)
    else redis.call('SET', key, cmsgpack.pack(state), 'PX', ttl) end
  end
end

-- {kind, limit, used, asked, cure, wait, resets, spent}
local function refusal(kind, limit, used, asked, cure, wait, resets, spent)
  return {kind, limit, used, asked, cure, wait, resets or -1, spent or 0}
end
