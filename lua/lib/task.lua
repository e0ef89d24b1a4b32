-- The two records of a task: its header (with the body, in `tasks`) and its lease (in `run`).
-- With a caller id of 8 and a route of 12 characters the header takes 47 bytes, so that a task
-- of 200 bytes stays in the 256-byte class of the allocator.

local HEADER = '>BBBBBI7I4I4I3Bc0Bc0Bc0'
local RUN = '>BBBI7I6I3Bc0Bc0Bc0Bc0'
-- Flags: 1 in a header says that others watch the task; in a run record 1 says that its worker
-- was told to stop, 2 that others watch it.

-- All of a header behind the tick: the same for every task of a profile.
local function pack_tail(wait_ms, run_ms, keep_s, inbox, route, tenant)
  return struct.pack(
    '>I4I4I3Bc0Bc0Bc0',
    wait_ms,
    run_ms,
    keep_s,
    #inbox,
    inbox,
    #route,
    route,
    #tenant,
    tenant
  )
end

local function unpack_task(id, text)
  local schema, flags, level, tries, attempts, tick, wait_ms, run_ms, keep_s, inbox, route, tenant, at =
    struct.unpack(HEADER, text)
  if schema > 1 then
    error({ err = 'NEWER a task has schema ' .. schema .. ', this release knows 1' })
  end
  -- Fourteen fields: two more fit before the table grows to twice its size.
  return {
    id = id,
    flags = flags,
    level = level,
    tries = tries,
    attempts = attempts,
    tick = tick,
    wait_ms = wait_ms,
    run_ms = run_ms,
    keep = keep_s,
    inbox = inbox,
    route = route,
    tenant = tenant,
    at = at,
    text = text,
  }
end

-- The last moment (ms) at which the task may be leased.
local function wait_until(t)
  return (t.tick - t.tick % 1000) / 1000 + t.wait_ms
end

local function unpack_run(id, text)
  local flags, level, attempt, fence, hard, keep_s, caller, inbox, route, tenant =
    struct.unpack(RUN, text)
  return {
    id = id,
    flags = flags,
    level = level,
    attempt = attempt,
    fence = fence,
    hard = hard,
    keep = keep_s,
    caller = caller,
    inbox = inbox,
    route = route,
    tenant = tenant,
  }
end

local function pack_run(t, flags, hard, caller)
  return struct.pack(
    RUN,
    flags,
    t.level,
    t.attempt,
    t.fence,
    hard,
    t.keep,
    #caller,
    caller,
    #t.inbox,
    t.inbox,
    #t.route,
    t.route,
    #t.tenant,
    t.tenant
  )
end
