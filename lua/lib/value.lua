-- @include task
-- @include queue
-- What can be said of a task now: a state while it lives, else its kept value, else `gone`.

local function value_of(q, id, text)
  if not text then
    return redis.call('GET', q.prefix .. 'result:' .. id) or 'gone'
  end
  local run = redis.call('HGET', q.prefix .. 'run', id)
  if run then
    local r, hard = unpack_run(q, id, run)
    return ('running\n%.0f %.0f'):format(r.fence, math.max(hard - q.now, 0))
  end
  return redis.call('ZSCORE', q.prefix .. 'due', id) and 'due' or 'waiting'
end
