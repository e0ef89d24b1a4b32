-- @include bucket
-- @include late
-- What may be said against a new task, but for plain ones with room left.

-- The idempotency key: another task with it, if one is known.
local function find_same(q, p, seen)
  local known = seen[p.same] or redis.call('GET', q.prefix .. 'same:' .. p.same)
  if not known then
    return nil
  end
  return (known:sub(23) == p.digest and 'SAME ' or 'CONFLICT ') .. known:sub(1, 22)
end

-- The open place that a task takes over: the one of its options, else one of its own id. Of one
-- call only the first takes it.
local function find_place(q, p, id, placed)
  local name, tail = p.place or id, '|' .. p.inbox .. '|' .. p.route
  local score = not placed[name] and redis.call('ZSCORE', q.prefix .. 'places', name .. tail)
  if not score or name ~= id and redis.call('HEXISTS', q.prefix .. 'tasks', name) == 1 then
    return nil
  end
  return { name = name, old = name .. tail, new = id .. tail, score = score }
end

local function bucket_refusal(p)
  local worst = 0
  for i = 1, #p.take do
    local wait = bucket_wait(p.take[i][1], p.take[i][2])
    if not wait then
      return 'NEVER'
    end
    worst = math.max(worst, wait)
  end
  if worst > 0 then
    return ('LIMITED %.0f'):format(math.ceil(worst / 1000))
  end
end

-- The word for it, or nil where it is taken in; and the place that it takes over.
local function judge(q, p, id, state)
  local same = p.same and find_same(q, p, state.same)
  if same or p.refusal then
    return same or p.refusal
  end
  local place = q.places > 0 and find_place(q, p, id, state.placed)
  local word = p.take and bucket_refusal(p)
  if not word and not place then
    word = no_room(q, p.bound, p.r)
    if word then
      word = ('%s %.0f'):format(word, retry_ms(q, gap_of(q, state.pace, p)))
    end
  end
  return word or p.due_ms > 0 and too_late(q, state.pace, p), place
end
