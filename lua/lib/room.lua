-- @include task
-- @include routes
-- Room: capacity bounds what waits, less the reserve of the level; a route's room all that lives.

-- How many tasks and places wait now; in hold mode free slots will take some of them at once.
local function count_waiting(q)
  local leases = redis.call('ZCARD', q.prefix .. 'leases')
  local waiting = redis.call('HLEN', q.prefix .. 'tasks')
    - leases
    - redis.call('ZCARD', q.prefix .. 'due')
  if q.mode == HOLD then
    waiting = waiting - (q.limit > 0 and math.max(q.limit - leases, 0) or BIG)
  end
  q.waiting = waiting + q.places
  q.running = leases
end

local function mark_of(q, level)
  if not q.marks then
    q.marks = {}
    for mark in q.reserve:gmatch('%d+') do
      q.marks[#q.marks + 1] = tonumber(mark)
    end
  end
  return q.marks[level + 1] or 0
end

-- The refusal of one more task or place, or nil.
local function no_room(q, level, r)
  if q.capacity > 0 and q.waiting >= q.capacity - mark_of(q, level) then
    return 'FULL'
  end
  if r.room > 0 and r.living >= r.room then
    return 'ROOM'
  end
end

-- Milliseconds after which it may be worth to ask again: what waits, at the measured pace.
local function retry_ms(q, gap_us)
  if gap_us == 0 then
    return 1000
  end
  return math.min(math.max(math.ceil(math.max(q.waiting, 1) * gap_us / 1000), 100), 3600000)
end
