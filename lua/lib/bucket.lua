-- @include arg
-- @include queue
-- Token buckets in three integers: level and time of the last look, and the unit. A token is
-- `unit` units, and `num` of them come in each microsecond, so nothing is ever rounded.

local MAX = 9007199254740992

local function gcd(a, b)
  while b > 0 do
    a, b = b, a % b
  end
  return a
end

-- Arguments name, tokens, period_us, burst from ARGV[at]: `tokens` come in `period_us`.
local function open_bucket(q, at)
  local name = name_arg(ARGV[at], 1, 'bucket')
  local tokens = int_arg(ARGV[at + 1], 1, 1000000000, 'tokens')
  local period = int_arg(ARGV[at + 2], 1, 1000000000000, 'period_us')
  local burst = int_arg(ARGV[at + 3], 1, 1000000000, 'burst')
  local divisor = gcd(tokens, period)
  local b = {
    key = q.prefix .. 'bucket:' .. name,
    name = name,
    num = tokens / divisor,
    unit = period / divisor,
  }
  b.max = burst * b.unit
  if b.max >= MAX then
    bad('burst', 'burst times period / gcd(tokens, period) below 2^53')
  end
  local text = redis.call('GET', b.key)
  b.level, b.last = b.max, q.us
  if text then
    local level, last, unit = struct.unpack('>I7I7I7', text)
    if unit ~= b.unit then
      local rest = level % unit
      level = (level - rest) / unit * b.unit + math.floor(rest * b.unit / unit)
    end
    b.ahead = math.max(last - q.us, 0)
    b.level = math.min(b.max, level + math.max(q.us - last, 0) * b.num)
    b.last = math.max(last, q.us)
  end
  return b
end

-- Microseconds until `cost` tokens are there: 0 now, nil never.
local function bucket_wait(b, cost)
  local need = cost * b.unit
  if need > b.max then
    return nil
  end
  if need <= b.level then
    return 0
  end
  return math.ceil((need - b.level) / b.num) + (b.ahead or 0)
end

local function bucket_take(b, cost)
  b.level = math.min(b.max, b.level - cost * b.unit)
  b.dirty = true
end

-- A bucket lives until it would be full again: a missing one is full.
local function save_bucket(b)
  if b.dirty then
    local full = math.ceil((b.max - b.level) / b.num / 1000) + (b.ahead or 0) / 1000 + 1000
    redis.call(
      'SET',
      b.key,
      struct.pack('>I7I7I7', b.level, b.last, b.unit),
      'PX',
      math.floor(full)
    )
  end
end
