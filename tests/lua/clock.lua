-- The test's clock: microseconds since 2025 as the key `testclock` of the queue says.

local function now_us()
  return tonumber(redis.call('GET', KEYS[1] .. 'testclock'))
end
