-- @script  gauge
-- @summary One consistent snapshot of the queue.
-- @kind    read
-- @key     prefix  string  bare prefix `<prefix>:{<queue>}:` of every key
-- @return  OK pairs:list
-- @error   BADARG NEWER OLDER
-- @replay  writes nothing
-- @cost    O(64 routes, 64 capped lanes)
-- @include arg pace routes

group_arg(1, 1, 0, 0, 'arguments')
local q = open_queue(0)
local DEAD_MS = 604800000
local MODES, STATES = { [0] = 'none', 'pull', 'hold' }, { [0] = 'open', 'paused', 'closed' }

local function count(command, key)
  return redis.call(command, q.prefix .. key)
end

local levels, oldest = {}, q.us
for level = 0, 9 do
  levels[level + 1] = count('ZCARD', 'wait:' .. level)
  local head = redis.call('ZRANGE', q.prefix .. 'wait:' .. level, 0, 0, 'WITHSCORES')
  oldest = math.min(oldest, tonumber(head[2] or oldest))
end
local lanes = redis.call('ZRANGE', q.prefix .. 'lanes', 0, 63)
for i = 1, #lanes do
  local level = tonumber(lanes[i]:sub(6, 6))
  levels[level + 1] = levels[level + 1] + count('ZCARD', lanes[i])
  local head = redis.call('ZRANGE', q.prefix .. lanes[i], 0, 0, 'WITHSCORES')
  oldest = math.min(oldest, tonumber(head[2] or oldest))
end

-- Up to 64 routes that live or were measured, by name; which of more is left to chance.
local names, known = {}, {}
for _, key in ipairs({ 'routes', 'service' }) do
  for _, name in ipairs(redis.call('HRANDFIELD', q.prefix .. key, 64)) do
    if not known[name] then
      known[name] = true
      names[#names + 1] = name
    end
  end
end
table.sort(names)
local routes, few = {}, math.min(#names, 64)
for i = 1, few do
  note_route(q, names[i])
end
load_routes(q)
for i = 1, few do
  local r = q.routes[names[i]]
  routes[#routes + 1] = r.name
  routes[#routes + 1] = r.living
  routes[#routes + 1] = r.running
  routes[#routes + 1] = r.levels
end

local gap, paces = 0, read_pace(q)
for level = 0, 9 do
  if paces[level] then
    gap = math.max(gap, paces[level].gap)
  end
end
local leases, due = count('ZCARD', 'leases'), count('ZCARD', 'due')
return {
  'OK',
  {
    'now_ms',
    q.now,
    'mode',
    MODES[q.mode],
    'state',
    STATES[q.state],
    'reason',
    q.reason,
    'waiting',
    count('HLEN', 'tasks') - leases - due,
    'running',
    leases,
    'due',
    due,
    'dead',
    redis.call('ZCOUNT', q.prefix .. 'dead', q.now - DEAD_MS, '+inf'),
    'places',
    q.places,
    'oldest_ms',
    math.floor((q.us - oldest) / 1000),
    'claimed_ms',
    q.claimed > 0 and q.now - q.claimed or -1,
    'gap_us',
    gap,
    'limit',
    q.limit,
    'capacity',
    q.capacity,
    'lease_ms',
    q.lease,
    'admitted',
    q.admitted,
    'refused',
    q.refused,
    'leased',
    q.leased,
    'done',
    q.done,
    'failed',
    q.failed,
    'expired',
    q.expired,
    'cancelled',
    q.cancelled,
    'lost',
    q.lost,
    'dead_total',
    q.dead,
    'retried',
    q.retried,
    'levels',
    levels,
    'routes',
    routes,
  },
}
