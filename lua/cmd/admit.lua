-- @script  admit
-- @summary Take up to 64 tasks into the line, or say why not.
-- @kind    grow
-- @key     prefix  string  bare prefix `<prefix>:{<queue>}:` of every key
-- @prefix  tasks hash id to header and body
-- @prefix  wait: zset lanes
-- @prefix  ready: zset lanes that may be served
-- @prefix  same: string idempotency keys
-- @prefix  bucket: string token buckets
-- @prefix  call: string last numbered call
-- @prefix  inbox: stream answers to the owner
-- @arg     caller  id
-- @arg     number  int 0..9007199254740991
-- @arg     mode    word pull|hold
-- @arg     trim_id stream-id
-- @arg     buckets int 0..64, then name tokens period_us burst each
-- @arg     profiles int 1..64, then level route tenant wait_ms run_ms due_ms attempts keep_s options each
-- @arg     tasks   groups 1..64 of profile id body
-- @return  OK next_ms:int more:int words:list grants:list
-- @return  OLD
-- @word    OK KNOWN SAME CONFLICT CLOSED NOINBOX LIMITED NEVER FULL ROOM LATE
-- @error   BADARG BADMODE NEWER OLDER
-- @replay  by caller number
-- @cost    O(tasks · log waiting), at most 64 tasks
-- @include arg caller room lane owner bucket profile tell wake
-- @lazy    leases_again read_options judge order lease grant give

local q, caller, number, trim_id
local BODY = 4608

local function read_lists()
  local buckets, profiles, names, at = {}, {}, {}, 6
  for _ = 1, int_arg(ARGV[5], 0, 64, 'buckets') do
    local b = open_bucket(q, at)
    for i = 1, #buckets do
      if buckets[i].name == b.name then
        bad('bucket', 'each name once')
      end
    end
    buckets[#buckets + 1] = b
    at = at + 4
  end
  local count = int_arg(ARGV[at], 1, 64, 'profiles')
  for i = 1, count do
    local p = read_profile(q, at + 1 + (i - 1) * 9, buckets, caller, profiles[i - 1])
    profiles[i], profiles[tostring(i)] = p, p
    names[i] = p.route
  end
  return buckets, profiles, names, at + 1 + count * 9
end

-- The profile and id of each task; its body is the argument behind them.
local function read_tasks_args(first, profiles)
  local args, count = ARGV, group_arg(first, 3, 1, 64, 'tasks')
  local of, ids = {}, {}
  for i = 1, count do
    local at = first + (i - 1) * 3
    of[i] = profiles[args[at]] or profiles[int_arg(args[at], 1, #profiles, 'profile')]
    ids[i] = id_arg(args[at + 1])
    if #args[at + 2] > BODY then
      bad('body', 'at most ' .. BODY .. ' bytes')
    end
  end
  return of, ids
end

-- What all new tasks of a profile are refused for, whatever else they are.
local function common_refusal(p)
  if q.state == CLOSED then
    return 'CLOSED ' .. q.reason
  end
  if p.keep == 0 and not has_inbox(q, caller) then
    return 'NOINBOX'
  end
end

-- The word for one task, or nil where it is taken in; and the place that it takes over.
local function refusal(p, id, state)
  if state.seen[id] then
    return 'KNOWN'
  end
  if p.plain and q.living + q.places + q.taken < p.bound then
    local first = q.levels == '' and p.r.cap == 0 and not state.pace.taken[p.level]
    if p.calm or first then
      return nil -- as most are
    end
  end
  return judge(q, p, id, state)
end

-- Count one task in, so that the next of this call is judged with it.
local function accept(p, id, body, place, state)
  local taken, ahead = state.taken, state.pace.taken
  local n = #taken + 1
  local tick = state.before + n
  state.seen[id] = true
  if place then
    state.moved[#state.moved + 1] = place
    state.placed[place.name] = true
  else
    local r = p.r
    r.living, r.dirty = r.living + 1, true
    q.taken = q.taken + 1
  end
  ahead[p.level] = (ahead[p.level] or 0) + 1
  if p.take then
    for i = 1, #p.take do
      bucket_take(p.take[i][1], p.take[i][2])
    end
  end
  if p.same then
    state.same[p.same] = id .. p.digest
  end
  state.store[2 * n - 1] = id
  state.store[2 * n] = new_record(p, tick, body)
  taken[n] = q.stands == '' and { id = id, p = p, tick = tick }
    or { id = id, p = p, tick = tick, flags = 0, attempts = 0, fence = 0, body = body }
end

-- Ids that live, or that a value is kept for.
local function known(ids)
  local seen = {}
  local rows = q.living > 0 and redis.call('HMGET', q.prefix .. 'tasks', unpack(ids)) or seen
  for i = 1, #rows do
    if rows[i] then
      seen[ids[i]] = true
    end
  end
  for i = 1, q.now <= q.kept and #ids or 0 do
    if redis.call('EXISTS', q.prefix .. 'result:' .. ids[i]) == 1 then
      seen[ids[i]] = true
    end
  end
  return seen
end

local function decide(of, ids, first, profiles, names)
  load_routes(q)
  q.living, q.taken = redis.call('HLEN', q.prefix .. 'tasks'), 0
  for i = 1, #profiles do
    local p = profiles[i]
    p.refusal, p.bound = common_refusal(p), bound_of(q, p.level)
    p.plain = not (p.take or p.same or p.refusal or p.r.room > 0 or q.places > 0)
    p.calm = p.due_ms == 0
  end
  local words = {}
  local state = {
    seen = known(ids),
    same = {},
    moved = {},
    placed = {},
    store = {},
    taken = {},
    before = math.max(q.us - 1, q.tick), -- the tick before the first
    pace = { taken = {}, names = names },
    words = words,
  }
  local args, taken = ARGV, state.taken
  for i = 1, #ids do
    local word, place = refusal(of[i], ids[i], state)
    if not word then
      accept(of[i], ids[i], args[first + 3 * i - 1], place, state)
    elseif word ~= 'KNOWN' and word:sub(1, 4) ~= 'SAME' then
      q.refused = q.refused + 1
    end
    words[i] = word or 'OK'
  end
  if #taken > 0 then
    q.tick = state.before + #taken
  end
  q.admitted = q.admitted + #taken
  return state
end

local function store(state)
  if #state.store == 0 then
    return
  end
  if q.living == 0 then
    q.swept = q.now -- idle is no outage
  end
  redis.call('HSET', q.prefix .. 'tasks', unpack(state.store))
  if q.stands == '' or q.levels ~= '' or #state.moved > 0 or not give(q, state.taken) then
    enqueue(q, state.taken)
  end
  q.lives = true
  for i = 1, #state.taken do
    local id, p = state.taken[i].id, state.taken[i].p
    if p.same then
      redis.call(
        'SET',
        q.prefix .. 'same:' .. p.same,
        id .. p.digest,
        'PX',
        p.wait_ms + p.run_ms * p.tries + p.keep * 1000
      )
    end
  end
  for i = 1, #state.moved do
    redis.call('ZREM', q.prefix .. 'places', state.moved[i].old)
    redis.call('ZADD', q.prefix .. 'places', state.moved[i].score, state.moved[i].new)
  end
end

caller = caller_arg(ARGV[1])
number = int_arg(ARGV[2], 0, 9007199254740991, 'number')
local mode = ARGV[3] == 'pull' and PULL or ARGV[3] == 'hold' and HOLD or bad('mode', 'pull or hold')
trim_id = ARGV[4] or ''
if not trim_id:find('^%d+$') and not trim_id:find('^%d+-%d+$') or #trim_id > 41 then
  bad('trim_id', 'a stream id')
end
q = open_queue(mode, last_call(caller))
local buckets, profiles, names, first = read_lists()
local of, ids = read_tasks_args(first, profiles)

local again, words, leases = look_up(q, number, 1)
if again == 'old' then
  return { 'OLD' }
elseif again == 'again' then
  return { 'OK', next_ms(q), 0, words, tell_grants(leases_again(q, caller, leases)) }
end

local state = decide(of, ids, first, profiles, names)
store(state)
for i = 1, #buckets do
  save_bucket(buckets[i])
end
if trim_id ~= '0' then
  redis.call('XTRIM', q.prefix .. 'inbox:' .. caller, 'MINID', trim_id)
end
local mine, more = {}, 0
if mode == HOLD then
  mine, more = grant(q, caller)
else
  wake(q)
end
save_routes(q)
save_queue(q)
remember(q, caller, number, 1, state.words, mine)
return { 'OK', next_ms(q), more, state.words, tell_grants(mine) }
