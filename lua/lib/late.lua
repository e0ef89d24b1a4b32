-- @include pace
-- @include lane
-- @include room
-- Can a new task still be leased in its time, and end before its deadline? Asked once its route
-- has 20 measured runs, at the pace at which its level leaves.

local function service_of(q, pace, route)
  pace.service = pace.service or read_service(q, pace.names)
  return pace.service[route]
end

-- The pace of a level, measured while it waits, else what the running ones must do by their mean.
local function gap_of(q, pace, p)
  pace.levels = pace.levels or read_pace(q)
  local level = pace.levels[p.level]
  if level and level.last > 0 and level.gap > 0 then
    return level.gap
  end
  local s = service_of(q, pace, p.route)
  count_waiting(q)
  return s.count >= 20 and q.running > 0 and s.mean / q.running or 0
end

-- How many of its level stand before a new task.
local function ahead_of(q, pace, p)
  if not p.ahead then
    p.ahead = redis.call('ZCARD', q.prefix .. 'wait:' .. p.level)
    if q.routes[p.route].cap > 0 then
      p.ahead = p.ahead + redis.call('ZCARD', q.prefix .. lane_of(p.level, p.route))
    end
  end
  return p.ahead + (pace.taken[p.level] or 0)
end

-- Sets `calm` where no further task of this call can be.
local function too_late(q, pace, p)
  local ahead = ahead_of(q, pace, p)
  local s = ahead > 0 and service_of(q, pace, p.route)
  if not s or s.count < 20 then
    p.calm = s and true
    return nil
  end
  local gap_ms = gap_of(q, pace, p) / 1000
  local late = math.max((ahead + 1) * gap_ms + s.mean / 1000 - p.due_ms, ahead * gap_ms - p.wait_ms)
  if late > 0 then
    return ('LATE %.0f'):format(math.ceil(late))
  end
  p.calm = late + 64 * gap_ms <= 0
end
