-- Requests per second, as in counters/bucket.py: {level in millionths of a request, at, rate}.
local function run_out(bucket, rate)
  if now > bucket[2] then bucket[1] = math.max(0, bucket[1] - (now - bucket[2]) * rate) end
  bucket[2], bucket[3] = now, rate
end

add_kind({
  limit = L_RPS,
  -- The third member is the rate when the bucket was last used.
  keep = function(bucket)
    return bucket[3] > 0 and math.max(IDLE_MS, math.ceil(bucket[1] / bucket[3] / 1e3)) or IDLE_MS
  end,
  check = function(bucket, spec, ask)
    local rate, burst, level = spec[L_RPS], spec[L_BURST], 0
    if burst == -1 then burst = rate end
    if bucket then
      run_out(bucket, rate)
      level = bucket[1]
    end
    local excess = level + ask.count * SECOND - burst * SECOND
    if excess <= 0 then return nil end
    local used = math.ceil(level / SECOND)
    if rate <= 0 or burst <= 0 then return refusal('rps', rate, used, 1, 'never', 0) end
    return refusal('rps', rate, used, 1, 'time', math.ceil(excess / rate))
  end,
  take = function(bucket, spec, ask)
    bucket = bucket or {0, now, spec[L_RPS]}
    bucket[1] = bucket[1] + ask.count * SECOND
    return bucket
  end,
})
