-- @include task
-- @include caller
-- Answers of a repeated call that leased: bodies are read again, leases lost since are left out.

local function leases_again(q, caller, leases)
  local out = {}
  for i = 1, #leases do
    local id = leases[i]
    local run = redis.call('HGET', q.prefix .. 'run', id)
    local text = redis.call('HGET', q.prefix .. 'tasks', id)
    if run and text then
      local t, r, hard = unpack_task(q, id, text), unpack_run(q, id, run)
      if r.fence > leases.low and r.fence <= leases.high and r.caller == caller then
        t.fence, t.attempts, t.run_ms = r.fence, r.attempt, math.max(hard - q.now, 0)
        out[#out + 1] = t
      end
    end
  end
  return out
end
