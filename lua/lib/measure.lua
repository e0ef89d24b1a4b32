-- @include pace
-- How the pace is measured: at the end of each run, by profile: `left` have ended, of which `ran`
-- have done their work, and `took` so many microseconds for it, since their fences.

local SPAN, ROUTES = 64, 1000

local function floor(x)
  return x - x % 1
end

local function note_pace(q)
  if q.pace == '' and q.levels == '' then
    return -- nothing has ever waited
  end
  local paces, waiting, parts, left = read_pace(q), {}, {}, {}
  for _, p in pairs(q.profiles) do
    left[p.level] = (left[p.level] or 0) + p.left
  end
  for digit in q.levels:gmatch('%d') do
    local level = digit + 0
    waiting[level] = true
    paces[level] = paces[level] or { gap = 0, last = 0 }
  end
  for level = 0, 9 do
    local p = paces[level]
    if p then
      local n = left[level] or 0
      if p.last > 0 and n > 0 then
        local elapsed = math.max(q.us - p.last, 0)
        p.gap = p.gap == 0 and floor(elapsed / n) or floor(p.gap + (elapsed - n * p.gap) / SPAN)
      end
      if not waiting[level] then
        p.last = 0
      elseif n > 0 or p.last == 0 then
        p.last = q.us
      end
      parts[#parts + 1] = struct.pack('>BI5I7', level, math.min(p.gap, 1099511627775), p.last)
    end
  end
  q.pace = table.concat(parts)
end

local function note_service(q)
  local names, list, first = {}, {}, {}
  for _, p in pairs(q.profiles) do
    local same = first[p.route]
    if same then
      same.ran, same.took = same.ran + p.ran, same.took + p.took
    elseif p.ran > 0 then
      first[p.route] = p
      names[#names + 1], list[#list + 1] = p.route, p
    end
  end
  if #names == 0 then
    return
  end
  local rows, set = redis.call('HMGET', q.prefix .. 'service', unpack(names)), {}
  for i = 1, #names do
    local n, took = list[i].ran, list[i].took
    local count, mean = unpack_service(rows[i])
    if rows[i] or redis.call('HLEN', q.prefix .. 'service') < ROUTES then
      local seen = math.min(count + n, 1000000)
      mean = floor(mean + (took - n * mean) / math.max(math.min(seen, SPAN), n))
      set[#set + 1] = names[i]
      set[#set + 1] = struct.pack('>I4I5', seen, math.min(mean, 1099511627775))
    end
  end
  if #set > 0 then
    redis.call('HSET', q.prefix .. 'service', unpack(set))
  end
end
