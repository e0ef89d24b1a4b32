-- @include lease
-- @include stand
-- New tasks to a claim that stands: leased by the admit that took them, told over Pub/Sub.
-- A message can be lost, and with it an attempt that nobody made: so only tasks that have another.

-- A line for each task, an empty one, and the bodies one behind the other.
local function message_of(tasks, first)
  local parts, told, n = { ('%.0f\n'):format(first) }, {}, #tasks + 2
  for i = 1, #tasks do
    local t = tasks[i]
    local p = t.p
    if not told[p] then
      told[p] = (' %.0f %d %s %s '):format(p.run_ms, p.level, p.route, p.tenant)
    end
    parts[i + 1] = t.id .. told[p] .. #t.body .. '\n'
  end
  parts[n] = '\n'
  for i = 1, #tasks do
    parts[n + i] = tasks[i].body
  end
  return table.concat(parts) -- in one go: each string that comes between is hashed
end

-- The highest level of tasks that may go without a word of whoever gets them; else nil.
local function level_of(tasks)
  local level = 0
  for i = 1, #tasks do
    local p = tasks[i].p
    if p.tries < 2 or p.r.cap > 0 then
      return nil
    end
    level = math.max(level, p.level)
  end
  return level
end

-- Whether all of the new tasks are leased to one claim. Who does not listen any more is gone.
local function give(q, tasks)
  local room = q.limit == 0 or redis.call('ZCARD', q.prefix .. 'leases') + #tasks <= q.limit
  local level = room and q.state ~= PAUSED and level_of(tasks)
  local left, message, taker = {}, nil, nil
  local stands = level and read_stands(q) or {}
  for i = 1, #stands do
    local s = stands[i]
    if taker or s.slots < #tasks or s.level < level then
      left[#left + 1] = s
    else
      message = message or message_of(tasks, next_tick(q))
      local heard = redis.pcall('SPUBLISH', q.prefix .. 'given:' .. s.caller, message)
      taker = type(heard) == 'number' and heard > 0 and s.caller
    end
  end
  if level then
    write_stands(q, left)
  end
  if not taker then
    return false
  end
  for i = 1, #tasks do
    local r = tasks[i].p.r
    r.running = r.running + 1
  end
  lease(q, tasks, taker)
  return true
end
