-- @include arg
-- @include task
-- What tasks of a call have in common, as nine arguments.

local function read_options(p, text, buckets)
  for option in (text .. ';'):gmatch('([^;]*);') do
    local name, value = option:match('^(%a+)=(.+)$')
    if name and p[name] then
      bad('options', 'each once')
    elseif name == 'take' then
      p.take = {}
      for part in (value .. ','):gmatch('([^,]*),') do
        local which, cost = part:match('^(%d+):(%d+)$')
        local bucket = which and buckets[int_arg(which, 1, math.max(#buckets, 1), 'take')]
        if not bucket or #p.take == 4 then
          bad('take', 'up to 4 of <bucket number>:<cost>')
        end
        for i = 1, #p.take do
          if p.take[i][1] == bucket then
            bad('take', 'each bucket once')
          end
        end
        p.take[#p.take + 1] = { bucket, int_arg(cost, 0, 1000000000, 'cost') }
      end
    elseif name == 'same' then
      p.same, p.digest = value:match('^([%w_-]+):([%w_-]+)$')
      if not p.same or #value > 128 then
        bad('same', '<key hash>:<body digest>')
      end
    elseif name == 'place' then
      p.place = id_arg(value)
    else
      bad('options', 'take=, same= or place=, joined by ;')
    end
  end
end

local function read_profile(at, buckets, caller)
  local p = {
    level = int_arg(ARGV[at], 0, 9, 'level'),
    route = name_arg(ARGV[at + 1], 1, 'route'),
    tenant = name_arg(ARGV[at + 2], 0, 'tenant'),
    wait_ms = int_arg(ARGV[at + 3], 1, 2592000000, 'wait_ms'),
    run_ms = int_arg(ARGV[at + 4], 1, 2592000000, 'run_ms'),
    due_ms = int_arg(ARGV[at + 5], 0, 2592000000, 'due_ms'),
    tries = int_arg(ARGV[at + 6], 1, 255, 'attempts'),
    keep = int_arg(ARGV[at + 7], 0, 604800, 'keep_s'),
  }
  if ARGV[at + 8] == nil then
    bad('profiles', 'nine arguments each')
  end
  if ARGV[at + 8] ~= '' then
    read_options(p, ARGV[at + 8], buckets)
  end
  p.tail = pack_tail(p.wait_ms, p.run_ms, p.keep, caller, p.route, p.tenant)
  return p
end
