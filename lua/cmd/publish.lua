-- @script  publish
-- @summary End up to 64 leases with their outcomes, and lease or grant the next in the same call.
-- @key     prefix  string  bare prefix `<prefix>:{<queue>}:` of every key
-- @prefix  tasks hash id to header and body
-- @prefix  run hash id to lease record
-- @prefix  inbox: stream answers to owners
-- @prefix  result: string kept values
-- @prefix  call: string last numbered call
-- @arg     caller    id
-- @arg     number    int 0..9007199254740991
-- @arg     limit     int 0..64
-- @arg     max_level level
-- @arg     outcomes  groups 1..64 of id fence word body
-- @return  OK next_ms:int more:int words:list tasks:list
-- @return  OLD
-- @word    OK STALE CANCELLED
-- @error   BADARG BADMODE NEWER OLDER
-- @replay  by caller number
-- @cost    O((outcomes + limit) · log waiting)
-- @include arg caller lease finish measure tell wake stand
-- @lazy    leases_again order lease grant

local BODY = 4608
local WORD = { done = true, failed = true }

local caller = caller_arg(ARGV[1])
local number = int_arg(ARGV[2], 0, 9007199254740991, 'number')
local limit = int_arg(ARGV[3], 0, 64, 'limit')
local max_level, stands = level_arg(ARGV[4], 'max_level')
local count = group_arg(5, 4, 1, 64, 'outcomes')
local args, ids = ARGV, {}
for i = 1, count do
  local at = 4 * i + 1
  ids[i] = args[at]
  if not WORD[args[at + 2]] then
    bad('word', 'done or failed')
  end
  if #args[at + 3] > BODY then
    bad('body', 'at most ' .. BODY .. ' bytes')
  end
end
local q = open_queue(0, last_call(caller))
if q.mode == HOLD and limit > 0 then
  bad('limit', '0 in hold mode')
end

-- Check fences and gather what ends, counted by profile for `measure`. An id that runs and the
-- fence that it has are well formed, so only others are looked at.
local function gather()
  local rows = redis.call('HMGET', q.prefix .. 'run', unpack(ids))
  local ended, words, seen = {}, {}, {}
  for i = 1, count do
    local id, at = ids[i], 4 * i + 1
    local run = rows[i] and unpack_run(q, id, rows[i])
    if not run or ('%d'):format(run.fence) ~= args[at + 1] then
      id_arg(id)
      run = int_arg(args[at + 1], 0, 9007199254740991, 'fence') == (run and run.fence) and run
    end
    if not run or seen[id] then
      words[i] = 'STALE'
    else
      seen[id] = true
      ended[#ended + 1] = run
      local p = run.p
      p.left = p.left + 1
      if run.flags % 2 == 1 then
        run.word, words[i] = 'cancelled', 'CANCELLED'
      else
        run.word, run.body, words[i] = args[at + 2], args[at + 3], 'OK'
        local us = q.us - run.fence
        p.ran, p.took = p.ran + 1, p.took + (us > 0 and us or 0)
      end
    end
  end
  return ended, words
end

local again, words, leases = look_up(q, number, 3)
if again == 'old' then
  return { 'OLD' }
elseif again == 'again' then
  local tasks = leases_again(q, caller, leases)
  return { 'OK', next_ms(q), 0, words, q.mode == HOLD and tell_grants(tasks) or tell_leases(tasks) }
end

local ended, told_words = gather()
load_routes(q)
finish(q, ended, q.mode == HOLD and caller or nil)
release(q)
local picked, more = {}, 0
if q.mode == HOLD then
  picked, more = grant(q, caller)
else
  if limit > 0 and q.levels ~= '' then
    picked, more = choose(q, limit, max_level)
    lease(q, picked, caller)
  end
  note_idle(q, #picked, limit, more, max_level)
  if stands then
    stand(q, caller, more == 0 and limit - #picked or 0, max_level)
  end
  wake(q)
end
note_service(q)
note_pace(q)
save_routes(q)
save_queue(q)
remember(q, caller, number, 3, told_words, picked)
return {
  'OK',
  next_ms(q),
  more,
  told_words,
  q.mode == HOLD and tell_grants(picked) or tell_leases(picked),
}
