-- Requests and tokens in any 60 seconds, as in counters/window.py: {birth, total, first, last, amount, first, …}.
local WINDOW, SHARED = 60e6, 1e6

local function expire(window)
  local size = #window
  if size < 5 then return end
  if window[size - 1] > now + WINDOW then
    for i = size, 3, -1 do window[i] = nil end
    window[2] = 0
    return
  end
  local gone, i = now - WINDOW, 3
  while i <= size and window[i + 1] <= gone do
    window[2] = window[2] - window[i + 2]
    i = i + 3
  end
  if i == 3 then return end
  local shift = i - 3
  for j = 3, size - shift do window[j] = window[j + shift] end
  for j = size, size - shift + 1, -1 do window[j] = nil end
end

local function window_check(kind, window, limit, amount)
  local total = 0
  if window then
    expire(window)
    total = window[2]
  end
  local excess = total + amount - limit
  if excess <= 0 then return nil end
  if amount > limit then return refusal(kind, limit, total, amount, 'never', 0) end
  local i = 3
  while true do
    excess = excess - window[i + 2]
    if excess <= 0 then return refusal(kind, limit, total, amount, 'time', window[i + 1] + WINDOW - now) end
    i = i + 3
  end
end

-- Returns the time at which the entry begins that took the amount.
local function window_take(window, amount)
  window[2] = window[2] + amount
  local size = #window
  if size >= 5 and now - window[size - 2] < SHARED then
    window[size] = window[size] + amount
    if window[size - 1] < now then window[size - 1] = now end
    return window[size - 2]
  end
  window[size + 1], window[size + 2], window[size + 3] = now, now, amount
  return now
end

local function give_back(window, first, amount)
  for i = #window - 2, 3, -3 do
    if window[i] == first then
      local back = math.min(amount, window[i + 2])
      window[i + 2] = window[i + 2] - back
      window[2] = window[2] - back
      return
    end
  end
end

add_kind({
  limit = L_RPM,
  keep = IDLE_MS,
  check = function(window, spec, ask) return window_check('rpm', window, spec[L_RPM], ask.count) end,
  take = function(window, spec, ask)
    window = window or {0, 0}
    window_take(window, ask.count)
    return window
  end,
})

add_kind({
  limit = L_TPM,
  -- Running requests are not counted here, so the window is kept for long: what a request used beyond its estimate is
  -- added to it when the request ends.
  keep = TOKENS_MS,
  check = function(window, spec, ask) return window_check('tpm', window, spec[L_TPM], ask.tokens) end,
  take = function(window, spec, ask, part)
    window = window or {birth(), 0}
    part[P_TOKENS], part[P_FIRST] = window[1], window_take(window, ask.tokens)
    return window
  end,
  settle = function(window, part, ended)
    if window[1] ~= part[P_TOKENS] then return end
    expire(window)
    if ended.more_tokens > 0 then window_take(window, ended.more_tokens) end
    if ended.tokens_back > 0 then give_back(window, part[P_FIRST], ended.tokens_back) end
  end,
  unheld = function(window, held, used)
    expire(window)
    window_take(window, used.tokens)
  end,
})
