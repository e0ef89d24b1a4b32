-- @script  configure
-- @summary Change validated settings of the queue, live.
-- @kind    grow
-- @key     prefix  string  bare prefix `<prefix>:{<queue>}:` of every key
-- @prefix  conf hash settings
-- @arg     settings groups 1..64 of name value
-- @return  OK next_ms:int more:int
-- @error   BADARG BADMODE NEWER OLDER
-- @replay  idempotent
-- @cost    O(settings), and up to 64 grants
-- @include arg routes wake
-- @lazy    grant

local count = group_arg(1, 2, 1, 64, 'settings')
local STATES = { open = 0, paused = PAUSED, closed = CLOSED }
local q = open_queue(0)
local limits = {}

local function set_mode(value)
  local mode = value == 'pull' and PULL or value == 'hold' and HOLD or bad('mode', 'pull or hold')
  if q.mode ~= 0 and q.mode ~= mode then
    error({
      err = 'BADMODE this queue is ' .. (q.mode == PULL and 'pull' or 'hold') .. ', for good',
    })
  end
  q.mode = mode
end

local function set_reserve(value)
  local last, marks = 0, 0
  for mark in (value .. ','):gmatch('([^,]*),') do
    local number = int_arg(mark, 0, 100000000, 'reserve')
    if number < last then
      bad('reserve', 'ten marks, not falling')
    end
    last, marks = number, marks + 1
  end
  if marks ~= 10 then
    bad('reserve', 'ten marks, not falling')
  end
  q.reserve = last > 0 and value or ''
end

local function set_route(name, value)
  local kind, route = name:match('^(%a+) (%S+)$')
  if kind ~= 'concurrency' and kind ~= 'room' then
    bad('name', 'a setting of lua/README.md')
  end
  name_arg(route, 1, 'route')
  local field = (kind == 'room' and 'room:' or 'cap:') .. route
  limits[#limits + 1] = { field, int_arg(value, 0, 1000000, kind), route }
end

local function set(name, value)
  if name == 'mode' then
    set_mode(value)
  elseif name == 'order' then
    if value ~= 'arrival' then
      bad('order', 'arrival')
    end
  elseif name == 'lease_ms' then
    q.lease = int_arg(value, 100, 3600000, name)
  elseif name == 'limit' then
    q.limit = int_arg(value, 0, 1000000, name)
  elseif name == 'capacity' then
    q.capacity = int_arg(value, 0, 100000000, name)
  elseif name == 'reserve' then
    set_reserve(value)
  elseif name == 'level_step_ms' then
    q.step = value == 'strict' and STRICT or int_arg(value, 0, 86400000000, name) * 1000
  elseif name == 'state' then
    q.state = STATES[value] or bad('state', 'open, paused or closed')
  elseif name == 'reason' then
    if #value > 200 or value:find('[%c]') then
      bad('reason', 'up to 200 printable characters')
    end
    q.reason = value
  else
    set_route(name, value)
  end
end

for i = 1, count do
  set(ARGV[2 * i - 1], ARGV[2 * i])
end
for i = 1, #limits do
  local field, value = limits[i][1], limits[i][2]
  if value > 0 then
    redis.call('HSET', q.prefix .. 'conf', field, ('%.0f'):format(value))
  else
    redis.call('HDEL', q.prefix .. 'conf', field)
  end
  note_route(q, limits[i][3])
end
write_conf(q)
q.caps = redis.call('HLEN', q.prefix .. 'conf') > 1 and 1 or 0
write_conf(q)
load_routes(q)
release(q)
local more = 0
if q.mode == HOLD then
  local _
  _, more = grant(q, '')
else
  wake(q)
end
save_routes(q)
save_queue(q)
return { 'OK', next_ms(q), more }
