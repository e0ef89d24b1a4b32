-- @include back
-- @include owner
-- @include gate
-- The sweep: what time alone brings about. Each part is bounded by 64.

local BOUND = 64
local IN_A_ROW = 3

-- Leases that ended up to this time end now. A silence of half a lease is an outage: after each
-- everyone has a whole lease of grace. Where one follows another with no sweep between, each takes
-- one ms off the grace and so is counted: who always sweeps as seldom as that must not keep
-- leases for ever, and after a few what had ended before the previous sweep has had its grace.
local function ended_until(q)
  if q.swept == 0 or q.now - q.swept <= q.lease / 2 then
    return q.now < q.grace and 0 or q.now
  end
  local row = q.swept + q.lease - q.grace
  if row < 0 or row > IN_A_ROW then
    row = -1
  end
  q.grace = q.now + q.lease - (row + 1) % (IN_A_ROW + 1)
  return row == IN_A_ROW and q.swept or 0
end

local function load_rows(q, key, ids)
  return #ids > 0 and redis.call('HMGET', q.prefix .. key, unpack(ids)) or {}
end

-- Headers and routes of ids; ids whose header is missing are left out.
local function load_tasks(q, ids)
  local rows, tasks = load_rows(q, 'tasks', ids), {}
  for i = 1, #ids do
    if rows[i] then
      tasks[#tasks + 1] = unpack_task(q, ids[i], rows[i])
    end
  end
  load_routes(q)
  return tasks
end

local function sweep_leases(q)
  local ahead = redis.call(
    'ZRANGE',
    q.prefix .. 'leases',
    '(' .. ('%.0f'):format(q.now + q.lease),
    '+inf',
    'BYSCORE',
    'LIMIT',
    0,
    BOUND
  )
  for i = 1, #ahead do
    redis.call('ZADD', q.prefix .. 'leases', q.now + q.lease, ahead[i])
  end
  local ids =
    redis.call('ZRANGE', q.prefix .. 'leases', 0, ended_until(q), 'BYSCORE', 'LIMIT', 0, BOUND)
  local runs, list = load_rows(q, 'run', ids), {}
  for i = 1, #ids do
    runs[i] = runs[i] and unpack_run(q, ids[i], runs[i])
  end
  local tasks, by_id = load_tasks(q, ids), {}
  for i = 1, #tasks do
    by_id[tasks[i].id] = tasks[i]
  end
  for i = 1, #ids do
    if runs[i] and by_id[ids[i]] then
      local b = runs[i]
      b.task, b.lost, b.counted, b.delay, b.reason =
        by_id[ids[i]], true, true, 0, 'its worker was lost'
      list[#list + 1] = b
    else
      redis.call('ZREM', q.prefix .. 'leases', ids[i])
    end
  end
  hand_back(q, list)
  return #ids == BOUND
end

-- End waiting or due tasks that are late or whose owner is gone.
local function end_unwanted(q, tasks)
  local ended, kept = {}, {}
  for i = 1, #tasks do
    local t = tasks[i]
    local word, body = end_of(q, t)
    if word then
      t.word, t.body = word, body
      ended[#ended + 1] = t
    else
      kept[#kept + 1] = t
    end
  end
  return ended, kept
end

local function sweep_due(q)
  local ids = redis.call('ZRANGE', q.prefix .. 'due', 0, q.now, 'BYSCORE', 'LIMIT', 0, BOUND)
  if #ids == 0 then
    return false
  end
  local ended, back = end_unwanted(q, load_tasks(q, ids))
  redis.call('ZREM', q.prefix .. 'due', unpack(ids))
  finish(q, ended)
  table.sort(back, function(a, b)
    return a.tick < b.tick
  end)
  enqueue(q, back)
  return #ids == BOUND
end

-- The lane behind `lane`: levels 0..9, then the lanes of capped routes by name.
local function lane_after(q, lane)
  if #lane < 6 then
    local digit = lane == '' and 0 or tonumber(lane:sub(6)) or 0
    return 'wait:' .. digit
  end
  if #lane == 6 and lane ~= 'wait:9' then
    return 'wait:' .. (tonumber(lane:sub(6)) + 1)
  end
  local from = #lane == 6 and '-' or '(' .. lane
  return redis.call('ZRANGE', q.prefix .. 'lanes', from, '+', 'BYLEX', 'LIMIT', 0, 1)[1]
end

-- Walk 64 waiting tasks from where the last sweep stopped, for what stands behind a live head.
local function sweep_waiting(q)
  local lane, tick = q.cursor:match('^(%S+) (%d+)$')
  lane, tick = lane or lane_after(q, ''), tick or '0'
  local left, ended_count = BOUND, 0
  for _ = 1, 16 do
    local rows = redis.call(
      'ZRANGE',
      q.prefix .. lane,
      '(' .. tick,
      '+inf',
      'BYSCORE',
      'LIMIT',
      0,
      left,
      'WITHSCORES'
    )
    local ids = {}
    for i = 1, #rows, 2 do
      ids[#ids + 1] = rows[i]
      tick = rows[i + 1]
    end
    local ended = end_unwanted(q, load_tasks(q, ids))
    dequeue(q, ended)
    finish(q, ended)
    ended_count = ended_count + #ended
    left = left - #ids
    if left == 0 then
      break
    end
    lane, tick = lane_after(q, lane), '0'
    if not lane then
      break
    end
  end
  q.cursor = lane and lane .. ' ' .. tick or ''
  return ended_count == BOUND
end

local function sweep_places(q)
  local members = redis.call('ZRANGE', q.prefix .. 'places', 0, q.now, 'BYSCORE', 'LIMIT', 0, BOUND)
  for i = 1, #members do
    local id, inbox, route = members[i]:match('^([^|]+)|([^|]+)|([^|]+)$')
    if q.graced or has_inbox(q, inbox) then
      redis.call('ZADD', q.prefix .. 'places', q.now + quarter_of(q), members[i])
      due_at(q, q.now + quarter_of(q))
    else
      redis.call('ZREM', q.prefix .. 'places', members[i])
      q.places = q.places - 1
      local r = note_route(q, route)
      load_routes(q)
      if redis.call('HEXISTS', q.prefix .. 'tasks', id) == 0 then
        r.living, r.dirty = r.living - 1, true
      end
    end
  end
  return #members == BOUND
end

-- Returns whether a bound was met.
local function sweep(q)
  if q.places == 0 and redis.call('HLEN', q.prefix .. 'tasks') == 0 then
    q.swept, q.gate, q.next = q.now, q.now + gate_of(q), 0 -- nothing lives: idle is no outage
    return false
  end
  local filled = sweep_leases(q)
  q.swept = q.now
  q.graced = q.now < q.grace
  filled = sweep_due(q) or filled
  filled = sweep_waiting(q) or filled
  if q.places > 0 then
    filled = sweep_places(q) or filled
  end
  release(q)
  q.gate = filled and 0 or q.now + gate_of(q)
  q.next = 0
  for _, key in ipairs({ 'leases', 'due', 'places' }) do
    local first = redis.call('ZRANGE', q.prefix .. key, 0, 0, 'WITHSCORES')
    if first[2] then
      due_at(q, tonumber(first[2]))
    end
  end
  return filled
end
