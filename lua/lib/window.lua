-- @include lane
-- The lanes of a level, opened one by one as they come to matter.

local WINDOW, TRIES = 16, 64

-- One more window of `ready:<level>`: members in order, and the routes that they stand for.
local function more_members(q, level)
  local from = level.read
  local rows =
    redis.call('ZRANGE', q.prefix .. 'ready:' .. level.digit, from, from + WINDOW - 1, 'WITHSCORES')
  for i = 1, #rows, 2 do
    level.members[from + (i + 1) / 2] = rows[i]
    level.heads[from + (i + 1) / 2] = rows[i + 1] + 0
    if rows[i] ~= '*' then
      note_route(q, rows[i])
    end
  end
  level.read = from + #rows / 2
  level.whole = #rows < 2 * WINDOW
  load_routes(q)
end

-- What a lane stands for among others: the tick of its next task, or BIG where it has none to give.
local function show_head(lane)
  lane.tick = lane.at > lane.count and BIG or lane.ticks[lane.at] or lane.head
end

-- Fill a lane's buffer with its next ids: as many as could be taken, and one for the next head.
local function read_lane(lane, want)
  if lane.alone then
    lane.ids = redis.call('ZRANGE', lane.key, lane.taken, lane.taken + want)
    lane.at, lane.count = 1, #lane.ids
    lane.whole = lane.count <= want
    return
  end
  local rows = redis.call('ZRANGE', lane.key, lane.taken, lane.taken + want, 'WITHSCORES')
  lane.ids, lane.ticks, lane.at, lane.count = {}, {}, 1, #rows / 2
  lane.whole = lane.count <= want
  for i = 1, lane.count do
    lane.ids[i] = rows[2 * i - 1]
    lane.ticks[i] = rows[2 * i] + 0
  end
end

local function open_lane(q, level, plan)
  local member, head = level.members[level.at], level.heads[level.at]
  level.at = level.at + 1
  local lane = {
    member = member,
    level = level,
    key = q.prefix .. lane_of(level.digit, member),
    taken = 0,
    ids = {},
    ticks = { head },
    at = 1,
    count = 1,
    head = head,
    tick = head,
    route = member ~= '*' and q.routes[member] or nil,
    alone = #plan.levels == 1 and level.whole and level.read == 1, -- its ticks don't matter
  }
  plan.lanes[#plan.lanes + 1] = lane
  level.lanes[#level.lanes + 1] = lane
  if lane.route and is_full(lane.route) then
    plan.tries = plan.tries + 1
  end
end

-- The lane of a level that holds its oldest task which may run now, and the tick of the next best;
-- opens lanes as they come to matter.
local function best_lane(q, level, plan)
  local lanes = level.lanes
  while true do
    local best, first, second = nil, BIG, BIG
    for i = 1, #lanes do
      local tick = lanes[i].tick
      if tick < first then
        best, first, second = lanes[i], tick, first
      elseif tick < second then
        second = tick
      end
    end
    if level.at > level.read and not level.whole then
      more_members(q, level)
    end
    local head, route = level.heads[level.at] or BIG, best and best.route
    if route and is_full(route) then
      best.tick = BIG -- all that was taken of it is sifted: it stays full in this call
    elseif first < head or head == BIG then
      return best, second < head and second or head
    elseif plan.tries >= TRIES then
      return nil
    else
      open_lane(q, level, plan)
    end
  end
end
