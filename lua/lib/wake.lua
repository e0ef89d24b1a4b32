-- @include queue
-- A worker that got less than it asked for blocks next, and wants hints from now on.
local function note_idle(q, got, limit, more, max_level)
  if got < limit and more == 0 and not q.wakes:find(max_level, 1, true) then
    q.wakes = q.wakes .. max_level
  end
end

-- A hint for idle workers where something waits that may run. A lost hint costs one poll.
local function wake(q)
  if q.levels == '' or q.wakes == '' or q.state == PAUSED then
    return
  end
  if q.limit > 0 and redis.call('ZCARD', q.prefix .. 'leases') >= q.limit then
    return
  end
  local lowest = digits_of(q.levels)[1]
  for digit in q.wakes:gmatch('%d') do
    if tonumber(digit) >= lowest then
      local key = q.prefix .. 'wake:' .. digit
      if redis.call('LLEN', key) == 0 then
        redis.call('RPUSH', key, '1')
        redis.call('PEXPIRE', key, '60000')
      end
    end
  end
end
