-- @include clock
-- The queue as a script finds it: settings, clock and counters, and how it is saved again.
-- `conf` field `q` and `clock` are packed: one GET and one unpack each, on every call.

local BIG = 4503599627370496 -- 2^52: later than any time
local STRICT = 562949953421312 -- 2^49, as a level step: no age makes up for a level
local SCHEMA = 2 -- of a queue's layout, in `conf`
local CONF = '>BBBBI4I4I4I7BBc0Bc0'
local CLOCK = '>BI7I6I6I6I6I6I7I4I6I6I6I6I6I6I6I6I6I6Bc0Bc0Bc0Bc0'
local NEW_CLOCK = 112 -- bytes behind the schema that say 0, of a queue without a clock
local PULL, HOLD = 1, 2
local UNREAD = 60000 -- so long an answer is kept for an owner that is gone, in or beside its inbox
local PAUSED, CLOSED = 1, 2

-- All fields of both records at once: a table that grows field by field is copied seven times.
-- `beside` is the key of a string that is read in one command with the clock, into `q.beside`; the
-- bare prefix, where there is none, is no key of ours. What follows the clock is `stands`.
local function read_queue(beside)
  local prefix = KEYS[1]
  local conf = redis.call('HGET', prefix .. 'conf', 'q')
    or struct.pack(CONF, SCHEMA, 0, 0, 0, 15000, 0, 10000, STRICT, 0, 0, '', 0, '')
  local strings = redis.call('MGET', prefix .. 'clock', beside or prefix)
  local clock = strings[1] or '\1' .. ('\0'):rep(NEW_CLOCK)
  local schema, mode, order, state, lease, limit, capacity, step, caps, reserve, reason =
    struct.unpack(CONF, conf)
  if schema ~= SCHEMA then
    local word = schema > SCHEMA and 'NEWER' or 'OLDER'
    error({ err = word .. ' the queue has schema ' .. schema .. ', this release knows ' .. SCHEMA })
  end
  local _, tick, swept, gate, next, grace, kept, claimed, places, admitted, refused, leased, done, failed, expired, cancelled, lost, dead, retried, levels, wakes, cursor, pace, at =
    struct.unpack(CLOCK, clock)
  local us = now_us()
  return {
    us = us,
    now = (us - us % 1000) / 1000,
    prefix = prefix,
    beside = strings[2],
    routes = {},
    unread = {},
    profiles = {},
    mode = mode,
    order = order,
    state = state,
    lease = lease,
    limit = limit,
    capacity = capacity,
    step = step,
    caps = caps,
    reserve = reserve,
    reason = reason,
    opened = tick,
    tick = tick,
    swept = swept,
    gate = gate,
    next = next,
    grace = grace,
    kept = kept,
    claimed = claimed,
    places = places,
    admitted = admitted,
    refused = refused,
    leased = leased,
    done = done,
    failed = failed,
    expired = expired,
    cancelled = cancelled,
    lost = lost,
    dead = dead,
    retried = retried,
    levels = levels,
    wakes = wakes,
    cursor = cursor,
    pace = pace,
    stands = at > #clock and '' or clock:sub(at),
  }
end

-- `mode` PULL or HOLD fixes the mode of a new queue and refuses the other one; 0 asks nothing.
local function open_queue(mode, beside)
  local q = read_queue(beside)
  if mode ~= 0 and q.mode ~= mode then
    if q.mode ~= 0 then
      error({
        err = 'BADMODE this queue is ' .. (q.mode == PULL and 'pull' or 'hold') .. ', for good',
      })
    end
    q.new_mode = mode
    q.mode = mode
  end
  -- Silence of half a lease is an outage: nobody could renew, so nobody counts as gone.
  q.graced = q.now < q.grace and q.grace <= q.now + q.lease
    or q.swept > 0 and q.now - q.swept > q.lease / 2
  return q
end

local function write_conf(q)
  redis.call(
    'HSET',
    q.prefix .. 'conf',
    'q',
    struct.pack(
      CONF,
      SCHEMA,
      q.mode,
      q.order,
      q.state,
      q.lease,
      q.limit,
      q.capacity,
      q.step,
      q.caps,
      #q.reserve,
      q.reserve,
      #q.reason,
      q.reason
    )
  )
end

local function save_queue(q)
  if q.new_mode then
    write_conf(q)
  end
  redis.call(
    'SET',
    q.prefix .. 'clock',
    struct.pack(
      CLOCK,
      1,
      q.tick,
      q.swept,
      q.gate,
      q.next,
      q.grace,
      q.kept,
      q.claimed,
      q.places,
      q.admitted,
      q.refused,
      q.leased,
      q.done,
      q.failed,
      q.expired,
      q.cancelled,
      q.lost,
      q.dead,
      q.retried,
      #q.levels,
      q.levels,
      #q.wakes,
      q.wakes,
      #q.cursor,
      q.cursor,
      #q.pace,
      q.pace
    ) .. q.stands
  )
end

-- The tick that would be the next.
local function next_tick(q)
  return q.us > q.tick and q.us or q.tick + 1
end

-- The first of `count` ticks in a row.
local function next_ticks(q, count)
  local first = next_tick(q)
  q.tick = first + count - 1
  return first
end

-- Something falls due at `ms`: the next sweep must not be later.
local function due_at(q, ms)
  if q.next == 0 or ms < q.next then
    q.next = ms
  end
end

-- How long something may stay unseen: silence of half a lease is taken for an outage.
local function quarter_of(q)
  return (q.lease - q.lease % 4) / 4
end

-- So long after a sweep there is no other: no longer than one may be put off.
local function gate_of(q)
  return math.min(250, quarter_of(q))
end

-- In how many ms someone has to sweep: at the soonest end of a lease or retry, and at least
-- four times a lease. 0: nothing lives; `q.lives` says that something does.
local function next_ms(q)
  if not q.lives and redis.call('HLEN', q.prefix .. 'tasks') == 0 and q.places == 0 then
    return 0
  end
  local quarter = quarter_of(q)
  local left = q.next > 0 and q.next - q.now + 1 or quarter
  if left > quarter then
    left = quarter
  end
  local gate = q.gate - q.now
  if left < gate and gate <= gate_of(q) then
    left = gate
  end
  return left > 1 and left or 1
end

-- The levels of a string of digits, in order.
local function digits_of(text)
  local digits = { text:byte(1, -1) }
  for i = 1, #digits do
    digits[i] = digits[i] - 48
  end
  table.sort(digits)
  return digits
end

local function add_level(q, level)
  if not q.levels:find(level, 1, true) then
    q.levels = q.levels .. level
  end
end
