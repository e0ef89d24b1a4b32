-- @include queue
-- Per route: how many tasks and places live, how many run, and the levels whose lane is parked
-- because the route is full. Read once a call for all routes concerned, written once at the end.

-- The record of a route that this call concerns: true once `load_routes` has read it.
local function note_route(q, name)
  local r = q.routes[name]
  if not r then
    r = { name = name, living = 0, running = 0, levels = '', cap = 0, room = 0, dirty = false }
    q.routes[name] = r
    q.unread[#q.unread + 1] = name
  end
  return r
end

local function load_routes(q)
  local names = q.unread
  if #names == 0 then
    return
  end
  q.unread = {}
  local rows = redis.call('HMGET', q.prefix .. 'routes', unpack(names))
  local caps
  if q.caps == 1 then
    local limits = {}
    for i = 1, #names do
      limits[2 * i - 1] = 'cap:' .. names[i]
      limits[2 * i] = 'room:' .. names[i]
    end
    caps = redis.call('HMGET', q.prefix .. 'conf', unpack(limits))
  end
  for i = 1, #names do
    local r = q.routes[names[i]]
    local row = rows[i]
    if row then
      r.living, r.running = struct.unpack('>I4I4', row)
      r.levels = #row > 8 and row:sub(9) or ''
    end
    if caps then
      r.cap = (caps[2 * i - 1] or 0) + 0
      r.room = (caps[2 * i] or 0) + 0
    end
  end
end

local function is_full(r)
  return r.cap > 0 and r.running >= r.cap
end

local function park(r, level)
  if not r.levels:find(level, 1, true) then
    r.levels = r.levels .. level
    r.dirty = true
  end
end

-- Lanes parked behind a full route come back as soon as it has a slot again.
local function release(q)
  for _, r in pairs(q.routes) do
    if r.levels ~= '' and not is_full(r) then
      for level in r.levels:gmatch('%d') do
        local head =
          redis.call('ZRANGE', q.prefix .. 'wait:' .. level .. ':' .. r.name, 0, 0, 'WITHSCORES')
        if head[1] then
          redis.call('ZADD', q.prefix .. 'ready:' .. level, 'LT', head[2], r.name)
          add_level(q, level)
        end
      end
      r.levels = ''
      r.dirty = true
    end
  end
end

local function save_routes(q)
  local set, gone
  for name, r in pairs(q.routes) do
    if r.dirty then
      if r.living > 0 or r.running > 0 or r.levels ~= '' then
        set = set or {}
        set[#set + 1] = name
        set[#set + 1] = struct.pack('>I4I4', r.living, r.running) .. r.levels
      else
        gone = gone or {}
        gone[#gone + 1] = name
      end
    end
  end
  if set then
    redis.call('HSET', q.prefix .. 'routes', unpack(set))
  end
  if gone then
    redis.call('HDEL', q.prefix .. 'routes', unpack(gone))
  end
end
