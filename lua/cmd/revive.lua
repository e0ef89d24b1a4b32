-- @script  revive
-- @summary Bring dead letters back as new tasks.
-- @key     prefix  string  bare prefix `<prefix>:{<queue>}:` of every key
-- @prefix  dead zset buried tasks
-- @prefix  dead: string reason, header and body
-- @arg     letters groups 1..64 of dead_id new_id
-- @return  OK next_ms:int words:list
-- @word    OK GONE KNOWN
-- @error   BADARG BADMODE NEWER OLDER
-- @replay  a revived letter is gone
-- @cost    O(letters · log waiting)
-- @include arg task lane wake

local count = group_arg(1, 2, 1, 64, 'letters')
for i = 1, 2 * count do
  id_arg(ARGV[i])
end
local q = open_queue(PULL)
local words, list, seen, store, gone = {}, {}, {}, {}, {}
for i = 1, count do
  local dead, id = ARGV[2 * i - 1], ARGV[2 * i]
  local text = not seen[dead] and redis.call('GET', q.prefix .. 'dead:' .. dead)
  if not text then
    words[i] = 'GONE'
    gone[#gone + 1] = dead
  elseif
    seen[id]
    or redis.call('HEXISTS', q.prefix .. 'tasks', id) == 1
    or redis.call('EXISTS', q.prefix .. 'result:' .. id) == 1
  then
    words[i] = 'KNOWN'
  else
    local _, at = struct.unpack('>I2c0', text)
    local t = unpack_task(q, id, text:sub(at))
    t.tick, t.dead = next_ticks(q, 1), dead
    t.p.keep, t.p.inbox = 3600, '-' -- alike for every letter of the profile
    pack_profile(t.p)
    store[#store + 1] = id
    store[#store + 1] = new_record(t.p, t.tick, t.text:sub(t.at))
    seen[dead], seen[id] = true, true
    list[#list + 1] = t
    words[i] = 'OK'
  end
end
load_routes(q)
if #gone > 0 then
  redis.call('ZREM', q.prefix .. 'dead', unpack(gone)) -- their letters have run out
end
if #list > 0 then
  if redis.call('HLEN', q.prefix .. 'tasks') == 0 then
    q.swept = q.now
  end
  redis.call('HSET', q.prefix .. 'tasks', unpack(store))
  for i = 1, #list do
    redis.call('ZREM', q.prefix .. 'dead', list[i].dead)
    redis.call('DEL', q.prefix .. 'dead:' .. list[i].dead)
    local r = list[i].p.r
    r.living, r.dirty = r.living + 1, true
  end
  enqueue(q, list)
  q.admitted = q.admitted + #list
end
wake(q)
save_routes(q)
save_queue(q)
return { 'OK', next_ms(q), words }
