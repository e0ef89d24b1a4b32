-- @script  renew
-- @summary Extend leases to now + lease, never past the hard deadline.
-- @key     prefix  string  bare prefix `<prefix>:{<queue>}:` of every key
-- @prefix  run hash id to lease record
-- @prefix  leases zset id to expiry
-- @arg     caller  id
-- @arg     leases  groups 1..64 of id fence
-- @return  OK next_ms:int words:list
-- @word    OK CANCELLED LOST
-- @error   BADARG NEWER OLDER
-- @replay  by fence
-- @cost    O(leases · log running)
-- @include arg task queue

caller_arg(ARGV[1])
local count = group_arg(2, 2, 1, 64, 'leases')
local ids, fences = {}, {}
for i = 1, count do
  ids[i] = id_arg(ARGV[2 * i])
  fences[i] = int_arg(ARGV[2 * i + 1], 0, 9007199254740991, 'fence')
end
local q = read_queue()

local rows = redis.call('HMGET', q.prefix .. 'run', unpack(ids))
local words, ends = {}, {}
for i = 1, count do
  local run, hard
  if rows[i] then
    run, hard = unpack_run(q, ids[i], rows[i])
  end
  if not run or run.fence ~= fences[i] then
    words[i] = 'LOST'
  elseif run.flags % 2 == 1 then
    words[i] = 'CANCELLED'
  else
    words[i] = 'OK'
    ends[#ends + 1] = math.min(q.now + q.lease, hard)
    ends[#ends + 1] = ids[i]
  end
end
if #ends > 0 then
  redis.call('ZADD', q.prefix .. 'leases', 'XX', unpack(ends))
end
return { 'OK', next_ms(q), words }
