-- @include arg
-- @include task
-- @include read_options
-- What tasks of a call have in common, as nine arguments.

local function read_profile(q, at, buckets, caller)
  local p = {
    level = int_arg(ARGV[at], 0, 9, 'level'),
    route = name_arg(ARGV[at + 1], 1, 'route'),
    tenant = name_arg(ARGV[at + 2], 0, 'tenant'),
    wait_ms = int_arg(ARGV[at + 3], 1, 2592000000, 'wait_ms'),
    run_ms = int_arg(ARGV[at + 4], 1, 2592000000, 'run_ms'),
    due_ms = int_arg(ARGV[at + 5], 0, 2592000000, 'due_ms'),
    tries = int_arg(ARGV[at + 6], 1, 255, 'attempts'),
    keep = int_arg(ARGV[at + 7], 0, 604800, 'keep_s'),
    inbox = caller,
    r = note_route(q, ARGV[at + 1]),
  }
  if ARGV[at + 8] == nil then
    bad('profiles', 'nine arguments each')
  end
  if ARGV[at + 8] ~= '' then
    read_options(p, ARGV[at + 8], buckets)
  end
  pack_profile(p)
  return p
end
