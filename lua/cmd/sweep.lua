-- @script  sweep
-- @summary End what time has ended: leases, late and ownerless waiters, places; bring retries back.
-- @key     prefix  string  bare prefix `<prefix>:{<queue>}:` of every key
-- @return  OK next_ms:int more:int swept:int
-- @error   BADARG NEWER OLDER
-- @replay  by the gate: one in 250 ms does work
-- @cost    at most 64 leases, 64 retries, 64 waiters, 64 places
-- @include arg gate wake routes
-- @lazy    sweep grant

group_arg(1, 1, 0, 0, 'arguments')
local q = open_queue(0)
if not is_gate_open(q) then
  return { 'OK', next_ms(q), 0, 0 }
end
local more = sweep(q) and 1 or 0
if q.mode == HOLD then
  local _, granted = grant(q, '')
  more = math.max(more, granted)
else
  wake(q)
end
save_routes(q)
save_queue(q)
return { 'OK', next_ms(q), more, 1 }
