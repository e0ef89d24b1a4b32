-- @include arg
-- @include task
-- @include read_options
-- What tasks of a call have in common, as nine arguments.

-- `before` is the profile whose arguments stand before these, if any: most of a call differ in
-- their route alone, and what was looked at once is not looked at again.
local function read_profile(q, at, buckets, caller, before)
  local args = ARGV
  local same = before
    and args[at] == args[at - 9]
    and args[at + 2] == args[at - 7]
    and args[at + 3] == args[at - 6]
    and args[at + 4] == args[at - 5]
    and args[at + 5] == args[at - 4]
    and args[at + 6] == args[at - 3]
    and args[at + 7] == args[at - 2]
  local p = {
    level = same and before.level or int_arg(args[at], 0, 9, 'level'),
    route = name_arg(args[at + 1], 1, 'route'),
    tenant = same and before.tenant or name_arg(args[at + 2], 0, 'tenant'),
    wait_ms = same and before.wait_ms or int_arg(args[at + 3], 1, 2592000000, 'wait_ms'),
    run_ms = same and before.run_ms or int_arg(args[at + 4], 1, 2592000000, 'run_ms'),
    due_ms = same and before.due_ms or int_arg(args[at + 5], 0, 2592000000, 'due_ms'),
    tries = same and before.tries or int_arg(args[at + 6], 1, 255, 'attempts'),
    keep = same and before.keep or int_arg(args[at + 7], 0, 604800, 'keep_s'),
    inbox = caller,
    r = note_route(q, args[at + 1]),
  }
  if args[at + 8] == nil then
    bad('profiles', 'nine arguments each')
  end
  if args[at + 8] ~= '' then
    read_options(p, args[at + 8], buckets)
  end
  pack_profile(p)
  return p
end
