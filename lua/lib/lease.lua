-- @include task
-- @include order
-- Leases: each bears the tick at which it was given, its fence.

-- Lease chosen tasks, to `caller` or, where nil, each to its own owner.
local function lease(q, tasks, caller)
  if #tasks == 0 then
    return
  end
  local runs, ends = {}, {}
  for i = 1, #tasks do
    local t = tasks[i]
    t.fence = next_tick(q)
    t.attempt = t.attempts + 1
    local hard, expiry = q.now + t.run_ms, q.now + q.lease
    if hard < expiry then
      expiry = hard
    end
    due_at(q, expiry)
    runs[2 * i - 1] = t.id
    runs[2 * i] = pack_run(t, t.flags % 2 == 1 and 2 or 0, hard, caller or t.inbox)
    ends[2 * i - 1] = expiry
    ends[2 * i] = t.id
  end
  redis.call('HSET', q.prefix .. 'run', unpack(runs))
  redis.call('ZADD', q.prefix .. 'leases', unpack(ends))
  q.leased = q.leased + #tasks
  q.claimed = q.now
end
