-- @include task
-- How leases and grants are answered.

-- The fields of leased tasks as `claim` and `publish` answer them, eight a task.
local function tell_leases(tasks)
  if #tasks == 0 then
    return tasks
  end
  local out, n = {}, 0
  for i = 1, #tasks do
    local t = tasks[i]
    local p = t.p
    out[n + 1], out[n + 2], out[n + 3], out[n + 4] = t.id, t.fence, t.attempts, t.run_ms or p.run_ms
    out[n + 5], out[n + 6], out[n + 7] = p.level, p.route, p.tenant
    out[n + 8] = t.text:sub(t.at)
    n = n + 8
  end
  return out
end

-- The fields of granted tasks, three a task.
local function tell_grants(tasks)
  if #tasks == 0 then
    return tasks
  end
  local out = {}
  for i = 1, #tasks do
    local t = tasks[i]
    out[3 * i - 2] = t.id
    out[3 * i - 1] = t.fence
    out[3 * i] = t.run_ms or t.p.run_ms
  end
  return out
end
