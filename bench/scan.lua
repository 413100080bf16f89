-- As post.lua, but no request is like another: `SERIAL` in the body becomes a number.
dofile(debug.getinfo(1, "S").source:sub(2):gsub("scan%.lua$", "post.lua"))
local serial = 0

function request()
  serial = serial + 1
  return wrk.format(nil, nil, nil, (wrk.body:gsub("SERIAL", serial)))
end
