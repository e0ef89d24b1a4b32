-- @include task
-- @include routes
-- Room: capacity bounds what waits, less the reserve of the level; a route's room all that lives.

-- How many tasks and places wait, with those taken in by this call; exact only when it matters,
-- since what lives is an upper bound. In hold mode free slots take some of them at once.
local function count_waiting(q)
  if not q.waited then
    q.running = redis.call('ZCARD', q.prefix .. 'leases')
    q.waited = q.living - q.running - redis.call('ZCARD', q.prefix .. 'due') + q.places
    if q.mode == HOLD then
      q.waited = q.waited - (q.limit > 0 and math.max(q.limit - q.running, 0) or BIG)
    end
  end
  return q.waited + q.taken
end

-- How much may wait before one more task of a level is refused: ten marks are kept, or none.
local function bound_of(q, level)
  if q.capacity == 0 then
    return BIG
  end
  for mark in q.reserve:gmatch('%d+') do
    if level == 0 then
      return q.capacity - mark
    end
    level = level - 1
  end
  return q.capacity
end

-- The refusal of one more task or place where `bound` may wait, or nil.
local function no_room(q, bound, r)
  if q.living + q.places + q.taken >= bound and count_waiting(q) >= bound then
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
  return math.min(math.max(math.ceil(math.max(count_waiting(q), 1) * gap_us / 1000), 100), 3600000)
end
