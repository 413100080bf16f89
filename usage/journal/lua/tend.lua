-- Delete the entries that all groups are done with. If more than the bound are left, delete the oldest of those that
-- the ledger is done with, although other groups still need them.
-- KEYS: events, epoch, counts. ARGV: the ledger's group, the most entries, the most to drop at once.
-- Returns the epoch ("" if there is none), the number of entries left, and for each group: its name, the first id that
-- it still needs, how many entries wait for it, how many were dropped now, how many were ever dropped and quarantined.
local function run_id()
  local info = redis.pcall('INFO', 'server')
  return type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
end
local function split(id)
  local ms, serial = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(serial)
end
local function before(a, b)
  local a_ms, a_serial = split(a)
  local b_ms, b_serial = split(b)
  return a_ms < b_ms or (a_ms == b_ms and a_serial < b_serial)
end
local function after(id)
  local ms, serial = string.match(id, '^(%d+)-(%d+)$')
  return ms .. '-' .. string.format('%.0f', tonumber(serial) + 1)
end
local function fields(flat)
  local found = {}
  for i = 1, #flat, 2 do
    found[flat[i]] = flat[i + 1]
  end
  return found
end

local mark = redis.call('GET', KEYS[2])
local epoch = mark and mark .. ':' .. run_id() or ''
if redis.call('EXISTS', KEYS[1]) == 0 then
  return { epoch, 0 }
end

local groups, least, ledger = {}, nil, nil
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local told = fields(flat)
  local pending = redis.call('XPENDING', KEYS[1], told.name)
  local needs = pending[1] > 0 and pending[2] or after(told['last-delivered-id'])
  local group = { name = told.name, needs = needs, lag = told.lag, pending = pending[1], dropped = 0 }
  group.last = told['last-delivered-id']
  groups[#groups + 1] = group
  if not least or before(needs, least) then
    least = needs
  end
  if told.name == ARGV[1] then
    ledger = group
  end
end

local excess = 0
if ledger then
  redis.call('XTRIM', KEYS[1], 'MINID', least)
  excess = math.min(redis.call('XLEN', KEYS[1]) - tonumber(ARGV[2]), tonumber(ARGV[3]))
end
if excess > 0 then
  local last
  for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', excess)) do
    local id = entry[1]
    if not before(id, ledger.needs) then
      break
    end
    last = id
    for _, group in ipairs(groups) do
      if not before(id, group.needs) then
        group.dropped = group.dropped + 1
      end
    end
  end
  if last then
    redis.call('XTRIM', KEYS[1], 'MINID', after(last))
  end
end

local length = redis.call('XLEN', KEYS[1])
local told = { epoch, length }
for _, group in ipairs(groups) do
  if group.dropped > 0 then
    redis.call('HINCRBY', KEYS[3], 'dropped:' .. group.name, group.dropped)
  end
  -- Redis does not always know a group's lag. It is at most the length of the stream.
  local waiting = math.min(length, (tonumber(group.lag) or length) + group.pending)
  told[#told + 1] = {
    group.name,
    group.needs,
    waiting,
    group.dropped,
    tonumber(redis.call('HGET', KEYS[3], 'dropped:' .. group.name)) or 0,
    tonumber(redis.call('HGET', KEYS[3], 'aside:' .. group.name)) or 0,
  }
end
return told
