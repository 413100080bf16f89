-- Money is {USD, picodollars below one USD}: two whole numbers. Lua's numbers are doubles, exact up to 2^53. In
-- picodollars alone that is 9,007 USD; two numbers are exact up to 2^53 USD.
local PICO = 1e12

local function plus(a, b)
  local usd, pico = a[1] + b[1], a[2] + b[2]
  if pico >= PICO then return {usd + 1, pico - PICO} end
  return {usd, pico}
end

-- The result is never below zero.
local function minus(a, b)
  local usd, pico = a[1] - b[1], a[2] - b[2]
  if pico < 0 then usd, pico = usd - 1, pico + PICO end
  if usd < 0 then return {0, 0} end
  return {usd, pico}
end

local function less(a, b)
  return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2])
end

local function larger(a, b)
  if less(a, b) then return b end
  return a
end

-- The picodollars are split into two parts below 10^6, so that no product exceeds 2^53 for a count below 10^9.
local function times(a, n)
  local low = (a[2] % 1e6) * n
  local high = math.floor(a[2] / 1e6) * n + math.floor(low / 1e6)
  return {a[1] * n + math.floor(high / 1e6), (high % 1e6) * 1e6 + low % 1e6}
end
