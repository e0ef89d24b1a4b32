-- @script  retry
-- @summary Hand leases back: to wait again at once or later, or to be buried.
-- @key     prefix  string  bare prefix `<prefix>:{<queue>}:` of every key
-- @prefix  tasks hash id to header and body
-- @prefix  run hash id to lease record
-- @prefix  due zset retries by time
-- @prefix  dead zset buried tasks
-- @prefix  call: string last numbered call
-- @arg     caller  id
-- @arg     number  int 0..9007199254740991
-- @arg     leases  groups 1..64 of id fence delay_ms counted reason
-- @return  OK next_ms:int more:int words:list
-- @return  OLD
-- @word    WAITING DUE DEAD EXPIRED CANCELLED STALE
-- @error   BADARG BADMODE NEWER OLDER
-- @replay  by caller number
-- @cost    O(leases · log waiting)
-- @include arg caller back wake

local caller = caller_arg(ARGV[1])
local number = int_arg(ARGV[2], 0, 9007199254740991, 'number')
local count = group_arg(3, 5, 1, 64, 'leases')
local ids, asked = {}, {}
for i = 1, count do
  local at = 5 * i - 2
  ids[i] = id_arg(ARGV[at])
  asked[i] = {
    fence = int_arg(ARGV[at + 1], 0, 9007199254740991, 'fence'),
    delay = int_arg(ARGV[at + 2], 0, 2592000000, 'delay_ms'),
    counted = int_arg(ARGV[at + 3], 0, 2, 'counted'),
    reason = ARGV[at + 4],
  }
  if #asked[i].reason > 1024 then
    bad('reason', 'at most 1024 bytes')
  end
end
local q = open_queue(PULL, last_call(caller))

local again, words = look_up(q, number, 4)
if again == 'old' then
  return { 'OLD' }
elseif again == 'again' then
  return { 'OK', next_ms(q), 0, words }
end

words = {}
local runs = redis.call('HMGET', q.prefix .. 'run', unpack(ids))
local rows = redis.call('HMGET', q.prefix .. 'tasks', unpack(ids))
local list, at, seen = {}, {}, {}
for i = 1, count do
  local b = runs[i] and rows[i] and not seen[ids[i]] and unpack_run(q, ids[i], runs[i])
  if b and b.fence == asked[i].fence then
    seen[ids[i]] = true
    b.task, b.delay, b.counted, b.reason =
      unpack_task(q, ids[i], rows[i]), asked[i].delay, asked[i].counted > 0, asked[i].reason
    b.last = asked[i].counted == 2
    list[#list + 1] = b
    at[#at + 1] = i
  else
    words[i] = 'STALE'
  end
end
load_routes(q)
local told = hand_back(q, list)
for i = 1, #told do
  words[at[i]] = told[i]
end
release(q)
wake(q)
save_routes(q)
save_queue(q)
remember(q, caller, number, 4, words, {})
return { 'OK', next_ms(q), 0, words }
