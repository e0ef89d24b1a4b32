-- @script  fetch
-- @summary Read the state or kept value of tasks, or how many stand before them.
-- @kind    read
-- @key     prefix  string  bare prefix `<prefix>:{<queue>}:` of every key
-- @prefix  tasks hash id to header and body
-- @prefix  result: string kept values
-- @arg     what    word state|position
-- @arg     ids     groups 1..64 of id
-- @return  OK values:list
-- @error   BADARG NEWER OLDER
-- @replay  writes nothing
-- @cost    O(ids · (10 + capped lanes, 64 at most) · log waiting)
-- @include arg value

local what = ARGV[1]
if what ~= 'state' and what ~= 'position' then
  bad('what', 'state or position')
end
local count = group_arg(2, 1, 1, 64, 'ids')
for i = 1, count do
  id_arg(ARGV[i + 1])
end
local q = read_queue()

-- Tasks whose key is smaller: in every lane those older than the key less the level's step.
local function position(t)
  local key, ahead = t.tick + t.p.level * q.step, 0
  for level = 0, 9 do
    local before = key - level * q.step
    if before > 0 then
      local bound = (level < t.p.level and '' or '(') .. ('%.0f'):format(before)
      ahead = ahead + redis.call('ZCOUNT', q.prefix .. 'wait:' .. level, '-inf', bound)
    end
  end
  local lanes = redis.call('ZRANGE', q.prefix .. 'lanes', 0, 63)
  for i = 1, #lanes do
    local before = key - tonumber(lanes[i]:sub(6, 6)) * q.step
    if before > 0 then
      ahead = ahead
        + redis.call('ZCOUNT', q.prefix .. lanes[i], '-inf', '(' .. ('%.0f'):format(before))
    end
  end
  return ('%.0f'):format(ahead)
end

local values = {}
for i = 1, count do
  local id = ARGV[i + 1]
  local text = redis.call('HGET', q.prefix .. 'tasks', id)
  values[i] = value_of(q, id, text)
  if what == 'position' then
    values[i] = values[i] == 'waiting' and position(unpack_task(q, id, text)) or 'gone'
  end
end
return { 'OK', values }
