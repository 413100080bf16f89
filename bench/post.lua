-- The POST of a chat completion: `wrk -s post.lua URL -- BODY [KEY]`. Prints the result as one line of JSON.
function init(args)
  wrk.method = "POST"
  wrk.body = args[1]
  wrk.headers["content-type"] = "application/json"
  if args[2] and args[2] ~= "" then wrk.headers["authorization"] = "Bearer " .. args[2] end
end

function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    'RESULT {"requests": %d, "seconds": %.6f, "failed": %d}\n', summary.requests, summary.duration / 1e6, failed
  ))
end
