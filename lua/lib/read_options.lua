-- @include arg
-- What few profiles have: tokens to take, an idempotency key, a place.

local function read_options(p, text, buckets)
  local had = {}
  for option in (text .. ';'):gmatch('([^;]*);') do
    local name, value = option:match('^(%a+)=(.+)$')
    if name and had[name] then
      bad('options', 'each once')
    end
    had[name or ''] = true
    if name == 'take' then
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
