-- The server's clock: microseconds since 2025-01-01 UTC.

local function now_us()
  local t = redis.call('TIME')
  return (tonumber(t[1]) - 1735689600) * 1000000 + tonumber(t[2])
end
