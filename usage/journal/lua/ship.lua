-- Add lines to the stream, all or none.
-- KEYS: events, epoch. ARGV: the epoch that the sender knows, a mark for a new epoch, the most entries, the lines.
-- Returns the epoch, and the id of the last entry: no second value if the epochs differ, "" if the stream is full.
local function run_id()
  local info = redis.pcall('INFO', 'server')
  return type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
end
local mark = redis.call('GET', KEYS[2])
if not mark then
  mark = ARGV[2]
  redis.call('SET', KEYS[2], mark)
end
local epoch = mark .. ':' .. run_id()
if epoch ~= ARGV[1] then
  return { epoch }
end
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[3]) then
  return { epoch, '' }
end
local id = ''
for i = 4, #ARGV do
  id = redis.call('XADD', KEYS[1], '*', 'line', ARGV[i])
end
return { epoch, id }
