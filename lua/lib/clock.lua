-- The server's clock: microseconds since 2025-01-01 UTC.

local function now_us()
  local t = redis.call('TIME')
  return (t[1] - 1735689600) * 1000000 + t[2]
end
