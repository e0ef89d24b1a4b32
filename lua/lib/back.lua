-- @include task
-- @include lane
-- @include finish
-- Tasks back from a lease: cancelled, lost, dead, expired, due or waiting again.

local BURIED, DEAD_MS = 10000, 604800000

-- Keep a dead task for `revive`: its reason, then header and body.
local function bury(q, t, reason)
  redis.call('ZADD', q.prefix .. 'dead', q.now, t.id)
  redis.call(
    'SET',
    q.prefix .. 'dead:' .. t.id,
    struct.pack('>I2c0', #reason, reason) .. t.text,
    'PX',
    DEAD_MS
  )
  local old =
    redis.call('ZRANGE', q.prefix .. 'dead', '-inf', q.now - DEAD_MS, 'BYSCORE', 'LIMIT', 0, 64)
  if #old > 0 then
    redis.call('ZREM', q.prefix .. 'dead', unpack(old))
  end
  for _ = 1, 64 do
    if redis.call('ZCARD', q.prefix .. 'dead') <= BURIED then
      break
    end
    local oldest = redis.call('ZPOPMIN', q.prefix .. 'dead')
    redis.call('DEL', q.prefix .. 'dead:' .. oldest[1])
  end
end

-- What becomes of one; each has the fields of its run, and task, lost, delay, counted, reason.
local function fate(q, b)
  local t = b.task
  if q.mode == HOLD then
    return 'lost', 'the holder did not renew its lease'
  elseif b.flags % 2 == 1 then
    return 'cancelled', ''
  elseif b.last or b.counted and b.attempt >= t.p.tries then
    return b.lost and 'lost' or 'dead', b.reason
  elseif t.tick < t.p.stale + b.delay * 1000 then
    return 'expired', b.reason
  end
end

local WORDS = { cancelled = 'CANCELLED', lost = 'LOST', dead = 'DEAD', expired = 'EXPIRED' }

-- Hand back a list; returns the word of each.
local function hand_back(q, list)
  local words, ended, again, rewrite, due, freed = {}, {}, {}, {}, {}, {}
  for i = 1, #list do
    local b = list[i]
    local t = b.task
    local word, body = fate(q, b)
    if word then
      b.word, b.body = word, body
      ended[#ended + 1] = b
      words[i] = WORDS[word]
      if word == 'dead' then
        bury(q, t, b.reason)
      end
    else
      freed[#freed + 1] = b.id
      local r = b.p.r
      r.running, r.dirty = r.running - 1, true
      if b.counted then
        rewrite[#rewrite + 1] = b.id
        rewrite[#rewrite + 1] = with_byte(3, b.attempt, t.text)
        q.retried = q.retried + 1
      end
      if b.delay > 0 then
        due[#due + 1] = q.now + b.delay
        due[#due + 1] = b.id
        due_at(q, q.now + b.delay)
      else
        again[#again + 1] = t
      end
      words[i] = b.delay > 0 and 'DUE' or 'WAITING'
    end
  end
  if #freed > 0 then
    redis.call('ZREM', q.prefix .. 'leases', unpack(freed))
    redis.call('HDEL', q.prefix .. 'run', unpack(freed))
  end
  if #rewrite > 0 then
    redis.call('HSET', q.prefix .. 'tasks', unpack(rewrite))
  end
  if #due > 0 then
    redis.call('ZADD', q.prefix .. 'due', unpack(due))
  end
  table.sort(again, function(a, b)
    return a.tick < b.tick
  end)
  enqueue(q, again)
  finish(q, ended)
  return words
end
