-- @script  attach
-- @summary Make an inbox or refresh its life; have outcomes of tasks posted to it too.
-- @kind    write
-- @key     prefix  string  bare prefix `<prefix>:{<queue>}:` of every key
-- @prefix  inbox: stream answers to the owner
-- @prefix  watch: list further callers that wait for a task
-- @arg     caller  id
-- @arg     ids     groups 0..64 of id
-- @return  OK fresh:int lease_ms:int last_id:bytes values:list
-- @error   BADARG NEWER OLDER
-- @replay  idempotent
-- @cost    O(ids)
-- @include arg task queue value

local caller = caller_arg(ARGV[1])
local count = group_arg(2, 1, 0, 64, 'ids')
local ids = {}
for i = 1, count do
  ids[i] = id_arg(ARGV[i + 1])
end
local q = read_queue()

-- Watch a living task that another caller owns.
local function watch(id, text)
  local p = unpack_task(q, id, text).p
  if p.inbox == caller then
    return
  end
  local key = q.prefix .. 'watch:' .. id
  local watchers = redis.call('LRANGE', key, 0, 63)
  for i = 1, #watchers do
    if watchers[i] == caller then
      return
    end
  end
  if #watchers == 64 then
    return
  end
  redis.call('RPUSH', key, caller)
  redis.call('PEXPIRE', key, p.wait_ms + p.run_ms * p.tries + 3600000)
  redis.call('HSET', q.prefix .. 'tasks', id, with_byte(2, 2, text))
  local run = redis.call('HGET', q.prefix .. 'run', id)
  if run then
    run = with_byte(1, run:byte(1) % 2 + 2, run)
    redis.call('HSET', q.prefix .. 'run', id, run)
  end
end

local inbox = q.prefix .. 'inbox:' .. caller
local fresh = redis.call('EXISTS', inbox) == 0
if fresh then
  redis.call('XADD', inbox, '*', 'hello', '1')
end
redis.call('PEXPIRE', inbox, q.lease + UNREAD)
-- Not that of the last entry: the owner removes what it has read.
local last, info = '0-0', redis.call('XINFO', 'STREAM', inbox)
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then
    last = info[i + 1]
  end
end
local values = {}
for i = 1, count do
  local text = redis.call('HGET', q.prefix .. 'tasks', ids[i])
  if text then
    watch(ids[i], text)
  end
  values[i] = value_of(q, ids[i], text)
end
return { 'OK', fresh and 1 or 0, q.lease, last, values }
