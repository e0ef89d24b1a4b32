-- @include queue
-- How often someone sweeps: once in a while, or at once where the last sweep met a bound.

-- A clock that was set back must not leave times standing that can't be.
local function mend_clock(q)
  if q.swept > q.now then
    q.swept = 0
  end
  if q.gate > q.now + gate_of(q) then
    q.gate = 0
  end
  if q.grace > q.now + q.lease then
    q.grace = 0
  end
end

local function is_gate_open(q)
  mend_clock(q)
  return q.now >= q.gate
end
