-- @include queue
-- @include routes
-- The two records of a task: its header (with the body, in `tasks`) and its lease (in `run`). Both
-- bear the task's profile, what it has in common with others of its owner, packed as one string:
-- a call unpacks it once for all of them. With a caller id of 8 and a route of 12 characters the
-- header takes 47 bytes, so that a task of 200 bytes stays in the 256-byte class of the allocator.

local PROFILE = '>BBI4I4I3Bc0Bc0Bc0'
local HEADER = '>BBBI7Bc0'
local RUN = '>BBI7I6Bc0Bc0'
-- Flags of both: 2 says that others watch the task; 1, of a run, that its worker was told to stop.

-- Sets `text`, as a call finds profiles again, and `sized`, as a header bears it.
local function pack_profile(p)
  p.text = struct.pack(
    PROFILE,
    p.level,
    p.tries,
    p.wait_ms,
    p.run_ms,
    p.keep,
    #p.inbox,
    p.inbox,
    #p.route,
    p.route,
    #p.tenant,
    p.tenant
  )
  p.sized = string.char(#p.text) .. p.text
end

-- The profile packed as `text`, `r` the record of its route: `load_routes` comes before its use.
local function unpack_profile(q, text)
  local level, tries, wait_ms, run_ms, keep, inbox, route, tenant = struct.unpack(PROFILE, text)
  local p = {
    text = text,
    level = level,
    tries = tries,
    wait_ms = wait_ms,
    run_ms = run_ms,
    keep = keep,
    inbox = inbox,
    route = route,
    tenant = tenant,
    r = note_route(q, route),
    stale = (q.now - wait_ms) * 1000, -- a task with an older tick may not be leased any more
    left = 0, -- runs that ended in this call, in `measure`
    ran = 0,
    took = 0,
  }
  q.profiles[text] = p
  return p
end

-- The record of a new task: schema 1, no flags, no attempts.
local function new_record(p, tick, body)
  return '\1\0\0' .. struct.pack('>I7', tick) .. p.sized .. body
end

local function unpack_task(q, id, text)
  local schema, flags, attempts, tick, profile, at = struct.unpack(HEADER, text)
  if schema > 1 then
    error({ err = 'NEWER a task has schema ' .. schema .. ', this release knows 1' })
  end
  -- Eight fields: one more, and the table grows to twice its size.
  return {
    id = id,
    flags = flags,
    attempts = attempts,
    tick = tick,
    fence = 0,
    p = q.profiles[profile] or unpack_profile(q, profile),
    at = at,
    text = text,
  }
end

local function pack_run(flags, attempt, fence, hard, caller, profile)
  return struct.pack(RUN, flags, attempt, fence, hard, #caller, caller, #profile, profile)
end

-- The run packed as `text`, and its hard deadline. Eight fields here as well.
local function unpack_run(q, id, text)
  local flags, attempt, fence, hard, caller, profile = struct.unpack(RUN, text)
  local run = {
    id = id,
    flags = flags,
    attempt = attempt,
    fence = fence,
    caller = caller,
    p = q.profiles[profile] or unpack_profile(q, profile),
    word = '',
    body = '',
  }
  return run, hard
end

-- Either record with another byte: flags are the second of a header and the first of a run,
-- attempts the third of a header.
local function with_byte(at, value, text)
  return text:sub(1, at - 1) .. string.char(value) .. text:sub(at + 1)
end
