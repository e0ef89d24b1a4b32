-- @script  claim
-- @summary Lease up to `limit` waiting tasks to one worker, best first.
-- @key     prefix  string  bare prefix `<prefix>:{<queue>}:` of every key
-- @prefix  tasks hash id to header and body
-- @prefix  run hash id to lease record
-- @prefix  leases zset id to expiry
-- @prefix  call: string last numbered call
-- @arg     caller    id
-- @arg     number    int 0..9007199254740991
-- @arg     limit     int 0..64
-- @arg     max_level level
-- @return  OK next_ms:int more:int tasks:list
-- @return  OLD
-- @error   BADARG BADMODE NEWER OLDER
-- @replay  by caller number
-- @cost    O(limit · log waiting), at most 64 tasks and 64 tries
-- @include arg caller lease gate tell wake stand
-- @lazy    leases_again sweep finish order lease

local caller = caller_arg(ARGV[1])
local number = int_arg(ARGV[2], 0, 9007199254740991, 'number')
local limit = int_arg(ARGV[3], 0, 64, 'limit')
local max_level, stands = level_arg(ARGV[4], 'max_level')
group_arg(5, 1, 0, 0, 'arguments')
local q = open_queue(PULL, last_call(caller))

local again, _, leases = look_up(q, number, 2)
if again == 'old' then
  return { 'OLD' }
elseif again == 'again' then
  return { 'OK', next_ms(q), 0, tell_leases(leases_again(q, caller, leases)) }
end

if is_gate_open(q) then
  sweep(q)
end
local picked, more = {}, 0
if q.levels ~= '' then
  picked, more = choose(q, limit, max_level)
  lease(q, picked, caller)
end
note_idle(q, #picked, limit, more, max_level)
if stands or q.stands ~= '' then
  stand(q, caller, stands and more == 0 and limit - #picked or 0, max_level)
end
q.claimed = q.now
wake(q)
save_routes(q)
save_queue(q)
remember(q, caller, number, 2, {}, picked)
return { 'OK', next_ms(q), more, tell_leases(picked) }
