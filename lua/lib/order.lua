-- @include task
-- @include window
-- @include owner
-- @include finish
-- The order: level, then lane, then the oldest task. A level is represented by the task that it
-- would serve next; the smallest `tick + level * step` wins, the lower level on a tie.

local FEW = 8

-- The best lane of all levels, and the key (with its level) up to which it stays the best.
local function best_of(q, plan)
  local best, best_key, bound, bound_digit = nil, BIG * 2, BIG * 2, 10
  for i = 1, #plan.levels do
    local level = plan.levels[i]
    local lane, second = best_lane(q, level, plan)
    if lane then
      local base = level.digit * q.step
      local key = lane.tick + base
      if key < best_key then
        if best then
          bound, bound_digit = best_key, best.level.digit
        end
        best, best_key = lane, key
        if second + base < bound then
          bound, bound_digit = second + base, level.digit
        end
      elseif key < bound then
        bound, bound_digit = key, level.digit
      end
      if q.step >= STRICT then
        break
      end
    end
  end
  return best, bound, bound_digit
end

-- Take ids from a lane while it stays the best, up to `want`.
local function take(q, lane, bound, bound_digit, want, plan)
  local r, digit = lane.route, lane.level.digit
  if r and r.cap > 0 and r.cap - r.running < want then
    want = r.cap - r.running
  end
  if #lane.ids == 0 then
    read_lane(lane, r and math.min(want, FEW) or want) -- others have their turn soon
  end
  local base, n, at, count, have = digit * q.step, 0, lane.at, lane.count, #plan.ids
  while n < want and at <= count do
    if n > 0 and not lane.alone then
      local key = lane.ticks[at] + base
      if key > bound or key == bound and digit >= bound_digit then
        break
      end
    end
    n = n + 1
    plan.ids[have + n] = lane.ids[at]
    plan.from[have + n] = lane
    at = at + 1
  end
  lane.at = at
  lane.taken = lane.taken + n
  if r then
    r.running = r.running + n
  end
  if at > count and not lane.whole then
    read_lane(lane, want)
  end
  show_head(lane)
end

-- Of the ids taken, keep those that may run: not late, owned, and within the limit of a route
-- that was capped after they were stored.
local function sift(q, plan)
  local ids, from = plan.ids, plan.from
  if #ids == 0 then
    return
  end
  local rows = redis.call('HMGET', q.prefix .. 'tasks', unpack(ids))
  for i = 1, #rows do
    rows[i] = rows[i] and unpack_task(q, ids[i], rows[i])
  end
  load_routes(q)
  local picked = plan.picked
  local n = #picked
  for i = 1, #rows do
    local t, counted = rows[i], from[i].route
    local r, word, body
    if t then
      r = t.p.r
      word, body = end_of(q, t)
    end
    if not t or word then
      if t then
        t.word, t.body = word, body
        plan.ended[#plan.ended + 1] = t
      end
      plan.tries = plan.tries + 1
      if counted then
        counted.running = counted.running - 1
      end
    elseif not counted and r.cap > 0 and is_full(r) then
      plan.moved[#plan.moved + 1] = t
      plan.tries = plan.tries + 1
    else
      if not counted then
        r.running = r.running + 1
      end
      r.dirty = true
      n = n + 1
      picked[n] = t
    end
  end
  plan.ids, plan.from = {}, {}
end

-- One lane: what was taken is out, and it stands by its new head, or is parked, or `empty`.
local function settle_lane(q, lane, empty)
  local level, route, member = lane.level, lane.route, lane.member
  if lane.taken > 0 then
    redis.call('ZREMRANGEBYRANK', lane.key, '0', lane.taken - 1)
  end
  if lane.at > lane.count then
    level.gone[#level.gone + 1] = member
    if route then
      empty[#empty + 1] = lane_of(level.digit, member)
    end
  elseif route and is_full(route) then
    level.gone[#level.gone + 1] = member
    park(route, level.digit)
  elseif lane.taken > 0 and lane.alone then
    refit(q, level.digit, member)
  elseif lane.taken > 0 then
    level.moved[#level.moved + 1] = lane.ticks[lane.at]
    level.moved[#level.moved + 1] = member
  end
end

-- What became of a level's lanes, in one command for each way that it went.
local function settle_level(q, level)
  local ready = q.prefix .. 'ready:' .. level.digit
  if #level.moved > 0 then
    redis.call('ZADD', ready, 'XX', unpack(level.moved))
  end
  if #level.gone > 0 then
    redis.call('ZREM', ready, unpack(level.gone))
    if redis.call('EXISTS', ready) == 0 then
      q.levels = q.levels:gsub(level.digit, '')
    end
  end
end

local function settle(q, plan)
  local empty = {}
  for i = 1, #plan.lanes do
    settle_lane(q, plan.lanes[i], empty)
  end
  for i = 1, #plan.levels do
    settle_level(q, plan.levels[i])
  end
  if #empty > 0 then
    redis.call('ZREM', q.prefix .. 'lanes', unpack(empty))
  end
  if #plan.moved > 0 then
    table.sort(plan.moved, function(a, b)
      return a.tick < b.tick
    end)
    enqueue(q, plan.moved)
  end
  if #plan.ended > 0 then
    finish(q, plan.ended)
  end
  release(q)
end

local function open_plan(q, max_level)
  local plan =
    { levels = {}, lanes = {}, ids = {}, from = {}, picked = {}, ended = {}, moved = {}, tries = 0 }
  for _, digit in ipairs(digits_of(q.levels)) do
    if digit <= max_level then
      plan.levels[#plan.levels + 1] = {
        digit = digit,
        members = {},
        heads = {},
        lanes = {},
        gone = {},
        moved = {},
        at = 1,
        read = 0,
        whole = false,
      }
    end
  end
  return plan
end

-- Choose up to `want` tasks of levels <= max_level; returns them (out of their lanes, counted as
-- running) and 1 where the bound of tries was met.
local function choose(q, want, max_level)
  if q.limit > 0 then
    want = math.min(want, q.limit - redis.call('ZCARD', q.prefix .. 'leases'))
  end
  if want <= 0 or q.levels == '' or q.state == PAUSED then
    return {}, 0
  end
  local plan = open_plan(q, max_level)
  -- Each round takes, sifts or ends: the bound is for the one that a fault would repeat for ever.
  for _ = 1, 4 * TRIES do
    if #plan.picked >= want or plan.tries >= TRIES then
      break
    end
    local left = want - #plan.picked - #plan.ids
    local lane, bound, bound_digit = best_of(q, plan)
    if lane and left > 0 then
      take(q, lane, bound, bound_digit, left, plan)
      -- Where a route is full now, the next choice depends on who of these really runs.
      if q.caps == 1 and (not lane.route or is_full(lane.route)) then
        sift(q, plan)
      end
    elseif #plan.ids > 0 then
      sift(q, plan)
    else
      break
    end
  end
  sift(q, plan)
  settle(q, plan)
  return plan.picked, (plan.tries >= TRIES and #plan.picked < want) and 1 or 0
end
