-- @include queue
-- @include routes
-- @include broad
-- Lanes: `wait:<level>` for all routes without a concurrency limit, `wait:<level>:<route>` for one
-- that has it. `ready:<level>` holds a member for each lane that may be served: `*` or the route,
-- its score the tick of the lane's head. `lanes` names the lanes of capped routes.

local function lane_of(level, member)
  return member == '*' and 'wait:' .. level or 'wait:' .. level .. ':' .. member
end

-- The lane that today's limits give to a profile, among those of `order`; made where it is none.
local function lane_for(p, order)
  local r = p.r
  local member = r.cap > 0 and p.route or '*'
  local key = lane_of(p.level, member)
  local o = order[key]
  if not o then
    local args = { '0', STONE }
    o = { key = key, member = member, level = p.level, tick = 0, route = r, args = args }
    order[key] = o
    order[#order + 1] = o
  end
  return o
end

-- Put tasks (id, p, tick), oldest first, into their lanes. The youngest is written first: a short
-- lane is a list that is searched from its old end.
local function enqueue(q, tasks)
  local lanes, order, format = {}, {}, string.format
  for i = #tasks, 1, -1 do
    local t = tasks[i]
    local o = lanes[t.p]
    if not o then
      o = lane_for(t.p, order)
      lanes[t.p] = o
    end
    local args, tick = o.args, t.tick
    local n = #args
    args[n + 1], args[n + 2] = format('%d', tick), t.id
    o.tick = tick
  end
  local capped, heads = {}, {}
  for i = 1, #order do
    local o = order[i]
    add_members(q.prefix .. o.key, o.args)
    if o.member ~= '*' then
      capped[#capped + 1] = '0'
      capped[#capped + 1] = o.key
    end
    if o.member == '*' or not o.route.levels:find(o.level, 1, true) then
      local ready = heads[o.level] or {}
      heads[o.level] = ready
      ready[#ready + 1] = o.tick
      ready[#ready + 1] = o.member
      add_level(q, o.level)
    end
  end
  if #capped > 0 then
    redis.call('ZADD', q.prefix .. 'lanes', unpack(capped))
  end
  for level, ready in pairs(heads) do
    redis.call('ZADD', q.prefix .. 'ready:' .. level, 'LT', unpack(ready))
  end
end

-- Put one lane's member right after its head has changed: the new head's tick, or out.
local function refit(q, level, member)
  local key = lane_of(level, member)
  local head = redis.call('ZRANGE', q.prefix .. key, '0', '0', 'WITHSCORES')
  if head[1] then
    redis.call('ZADD', q.prefix .. 'ready:' .. level, 'XX', head[2], member)
    return
  end
  redis.call('ZREM', q.prefix .. 'ready:' .. level, member)
  if member ~= '*' then
    redis.call('ZREM', q.prefix .. 'lanes', key)
  end
  if redis.call('EXISTS', q.prefix .. 'ready:' .. level) == 0 then
    q.levels = q.levels:gsub(level, '')
  end
end

-- Take waiting tasks out of their lanes, wherever an earlier limit has put them.
local function dequeue(q, tasks)
  local touched = {}
  for i = 1, #tasks do
    local id, p = tasks[i].id, tasks[i].p
    local capped = p.r.cap > 0
    for pass = 1, 2 do
      local member = capped == (pass == 1) and p.route or '*'
      local key = lane_of(p.level, member)
      if redis.call('ZREM', q.prefix .. key, id) == 1 then
        touched[key] = { p.level, member }
        break
      end
    end
  end
  for _, lane in pairs(touched) do
    refit(q, lane[1], lane[2])
  end
end
