-- @script  place
-- @summary Take room before the task exists, or give it back.
-- @key     prefix  string  bare prefix `<prefix>:{<queue>}:` of every key
-- @prefix  places zset id|inbox|route to the next look at its owner
-- @prefix  call: string last numbered call
-- @arg     caller  id
-- @arg     number  int 0..9007199254740991
-- @arg     mode    word pull|hold
-- @arg     action  word take|leave
-- @arg     id      id
-- @arg     route   name
-- @arg     level   int 0..9
-- @return  OK next_ms:int word:word
-- @return  OLD
-- @word    OK KNOWN CLOSED NOINBOX FULL ROOM GONE
-- @error   BADARG BADMODE NEWER OLDER
-- @replay  by caller number
-- @cost    O(log waiting)
-- @include arg caller room owner lane
-- @lazy    finish

local caller = caller_arg(ARGV[1])
local number = int_arg(ARGV[2], 0, 9007199254740991, 'number')
local mode = ARGV[3] == 'pull' and PULL or ARGV[3] == 'hold' and HOLD or bad('mode', 'pull or hold')
local action = ARGV[4]
if action ~= 'take' and action ~= 'leave' then
  bad('action', 'take or leave')
end
local id = id_arg(ARGV[5])
local route = name_arg(ARGV[6], 1, 'route')
local level = int_arg(ARGV[7], 0, 9, 'level')
group_arg(8, 1, 0, 0, 'arguments')
local q = open_queue(mode, last_call(caller))
local key, member = q.prefix .. 'places', id .. '|' .. caller .. '|' .. route
local r = note_route(q, route)

local function take()
  if redis.call('ZSCORE', key, member) or redis.call('HEXISTS', q.prefix .. 'tasks', id) == 1 then
    return 'KNOWN'
  end
  if q.state == CLOSED then
    return 'CLOSED ' .. q.reason
  end
  if not has_inbox(q, caller) then
    return 'NOINBOX'
  end
  q.living, q.taken = redis.call('HLEN', q.prefix .. 'tasks'), 0
  local word = no_room(q, bound_of(q, level), r)
  if word then
    q.refused = q.refused + 1
    return ('%s %.0f'):format(word, retry_ms(q, 0))
  end
  if q.living == 0 and q.places == 0 then
    q.swept = q.now
  end
  redis.call('ZADD', key, q.now + quarter_of(q), member)
  due_at(q, q.now + quarter_of(q))
  q.places = q.places + 1
  r.living, r.dirty = r.living + 1, true
  return 'OK'
end

local function leave()
  if redis.call('ZREM', key, member) == 0 then
    return 'GONE'
  end
  q.places = q.places - 1
  local text = redis.call('HGET', q.prefix .. 'tasks', id)
  local t = text and unpack_task(q, id, text)
  if not t or t.p.route ~= route or t.p.inbox ~= caller then -- no task has taken it over
    r.living, r.dirty = r.living - 1, true
  elseif redis.call('HEXISTS', q.prefix .. 'run', id) == 0 then
    t.word, t.body = 'cancelled', ''
    redis.call('ZREM', q.prefix .. 'due', id)
    dequeue(q, { t })
    finish(q, { t }, caller)
  end
  return 'OK'
end

local again, words = look_up(q, number, 6)
if again == 'old' then
  return { 'OLD' }
elseif again == 'again' then
  return { 'OK', next_ms(q), words[1] }
end

load_routes(q)
local word = action == 'take' and take() or leave()
save_routes(q)
save_queue(q)
remember(q, caller, number, 6, { word }, {})
return { 'OK', next_ms(q), word }
