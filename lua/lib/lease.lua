-- @include task
-- @include order
-- @include broad
-- Leases: each bears the tick at which it was given, its fence.

-- Lease chosen tasks, to `caller` or, where nil, each to its own owner.
local function lease(q, tasks, caller)
  if #tasks == 0 then
    return
  end
  local runs = { STONE, '' }
  local ends = { '0', STONE }
  local expiry, text
  local longest = q.now + q.lease
  for i = 1, #tasks do
    local t = tasks[i]
    t.fence = next_tick(q)
    t.attempt = t.attempts + 1
    local hard = q.now + t.run_ms
    local last = hard < longest and hard or longest
    if last ~= expiry then
      expiry, text = last, ('%d'):format(last)
      due_at(q, last)
    end
    runs[2 * i + 1] = t.id
    runs[2 * i + 2] = pack_run(t, t.flags % 2 == 1 and 2 or 0, hard, caller or t.inbox)
    ends[2 * i + 1] = text
    ends[2 * i + 2] = t.id
  end
  add_fields(q.prefix .. 'run', runs)
  add_members(q.prefix .. 'leases', ends)
  q.leased = q.leased + #tasks
  q.lives = true
  q.claimed = q.now
end
