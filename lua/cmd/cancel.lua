-- @script  cancel
-- @summary Take waiting tasks out of the line; tell the workers of running ones.
-- @key     prefix  string  bare prefix `<prefix>:{<queue>}:` of every key
-- @prefix  tasks hash id to header and body
-- @prefix  run hash id to lease record
-- @prefix  told: list cancels for one worker
-- @prefix  call: string last numbered call
-- @arg     caller  id
-- @arg     number  int 0..9007199254740991
-- @arg     reason  word cancelled|expired
-- @arg     ids     groups 1..64 of id
-- @return  OK next_ms:int more:int words:list grants:list
-- @return  OLD
-- @word    CANCELLED TOLD GONE
-- @error   BADARG NEWER OLDER
-- @replay  by caller number
-- @cost    O(ids · log waiting)
-- @include arg caller lane finish tell wake
-- @lazy    leases_again grant

local caller = caller_arg(ARGV[1])
local number = int_arg(ARGV[2], 0, 9007199254740991, 'number')
local reason = ARGV[3]
if reason ~= 'cancelled' and reason ~= 'expired' then
  bad('reason', 'cancelled or expired')
end
local count = group_arg(4, 1, 1, 64, 'ids')
local ids = {}
for i = 1, count do
  ids[i] = id_arg(ARGV[i + 3])
end
local q = open_queue(0, last_call(caller))

-- A running task: in hold mode its grant ends, else its worker is told once.
local function stop_running(run, text, ended)
  if q.mode == HOLD then
    run.word = reason
    ended[#ended + 1] = run
    return 'CANCELLED'
  end
  if run.flags % 2 == 0 then
    redis.call('HSET', q.prefix .. 'run', run.id, with_byte(1, run.flags + 1, text))
    local key = q.prefix .. 'told:' .. run.caller
    redis.call('RPUSH', key, ('%s %.0f'):format(run.id, run.fence))
    redis.call('LTRIM', key, -256, -1)
    redis.call('PEXPIRE', key, 60000)
  end
  return 'TOLD'
end

local function stop_all()
  local runs = redis.call('HMGET', q.prefix .. 'run', unpack(ids))
  local rows = redis.call('HMGET', q.prefix .. 'tasks', unpack(ids))
  local running, waiting, ended, words, due, seen = {}, {}, {}, {}, {}, {}
  for i = 1, count do
    rows[i] = rows[i] and unpack_task(q, ids[i], rows[i])
    running[i] = runs[i] and unpack_run(q, ids[i], runs[i])
  end
  load_routes(q)
  for i = 1, count do
    local id, t = ids[i], rows[i]
    if seen[id] then
      words[i] = 'GONE'
    elseif runs[i] then
      words[i] = stop_running(running[i], runs[i], ended)
    elseif t then
      t.word, t.body = reason, ''
      ended[#ended + 1] = t
      due[#due + 1] = id
      waiting[#waiting + 1] = t
      words[i] = 'CANCELLED'
    else
      words[i] = 'GONE'
    end
    seen[id] = true
  end
  if #due > 0 then
    redis.call('ZREM', q.prefix .. 'due', unpack(due))
  end
  dequeue(q, waiting)
  finish(q, ended, caller)
  return words
end

local again, words, leases = look_up(q, number, 5)
if again == 'old' then
  return { 'OLD' }
elseif again == 'again' then
  return { 'OK', next_ms(q), 0, words, tell_grants(leases_again(q, caller, leases)) }
end

words = stop_all()
release(q)
local mine, more = {}, 0
if q.mode == HOLD then
  mine, more = grant(q, caller)
else
  wake(q)
end
save_routes(q)
save_queue(q)
remember(q, caller, number, 5, words, mine)
return { 'OK', next_ms(q), more, words, tell_grants(mine) }
