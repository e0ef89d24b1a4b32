-- @include routes
-- The measured pace: how often a task of a level leaves while others of it wait, and how long a
-- run of a route takes. Both are moving means over the last 64, in microseconds.

local function read_pace(q)
  local paces = {}
  for from = 1, #q.pace, 13 do
    local level, gap, last = struct.unpack('>BI5I7', q.pace, from)
    paces[level] = { gap = gap, last = last }
  end
  return paces
end

-- How many runs of a route were measured, and their mean.
local function unpack_service(row)
  if row then
    return struct.unpack('>I4I5', row)
  end
  return 0, 0
end

local function read_service(q, names)
  local rows = redis.call('HMGET', q.prefix .. 'service', unpack(names))
  local service = {}
  for i = 1, #names do
    local count, mean = unpack_service(rows[i])
    service[names[i]] = { count = count, mean = mean }
  end
  return service
end
