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
  local now, longest = q.now, q.now + q.lease
  local before = next_ticks(q, #tasks) - 1
  for i = 1, #tasks do
    local t = tasks[i]
    local id, p, fence, attempt = t.id, t.p, before + i, t.attempts + 1
    t.fence, t.attempts = fence, attempt
    local hard = now + p.run_ms
    local last = hard < longest and hard or longest
    if last ~= expiry then
      expiry, text = last, ('%d'):format(last)
      due_at(q, last)
    end
    local at = 2 * i
    runs[at + 1] = id
    runs[at + 2] = pack_run(t.flags, attempt, fence, hard, caller or p.inbox, p.text)
    ends[at + 1] = text
    ends[at + 2] = id
  end
  add_fields(q.prefix .. 'run', runs)
  add_members(q.prefix .. 'leases', ends)
  q.leased = q.leased + #tasks
  q.lives = true
  q.claimed = q.now
end
