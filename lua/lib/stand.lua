-- @include queue
-- Claims that stand: what a claim asked for and did not get. An `admit` leases to them at once what
-- it takes into an empty line. Each is answered once at most, and none is older than STAND_MS.

local STAND = '>BBI6Bc0'
local STANDS, STAND_MS = 16, 20000

-- Those that stand now, oldest first, but for that of `caller`.
local function read_stands(q, caller)
  local stands, at = {}, 1
  while at <= #q.stands do
    local slots, level, till, name, after = struct.unpack(STAND, q.stands, at)
    if name ~= caller and q.now < till and till <= q.now + STAND_MS then
      stands[#stands + 1] =
        { slots = slots, level = level, caller = name, text = q.stands:sub(at, after - 1) }
    end
    at = after
  end
  return stands
end

local function write_stands(q, stands)
  local parts = {}
  for i = 1, #stands do
    parts[i] = stands[i].text
  end
  q.stands = table.concat(parts)
end

-- In place of what stood of `caller`, so many slots for levels <= `max_level`.
local function stand(q, caller, slots, max_level)
  local count = 0
  if q.stands ~= '' then
    local stands = read_stands(q, caller)
    write_stands(q, stands)
    count = #stands
  end
  if slots > 0 and count < STANDS then
    q.stands = q.stands .. struct.pack(STAND, slots, max_level, q.now + STAND_MS, #caller, caller)
  end
end
