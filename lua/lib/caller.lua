-- @include arg
-- @include queue
-- Numbered calls: a caller's last one is remembered for ten minutes, so that a copy of it (the
-- reply was lost, the client sent again) answers as it did and does nothing.

local RECORD = '>I7BI7I7I4'

local function last_call(caller)
  return KEYS[1] .. 'call:' .. caller
end

-- `q` was opened beside the caller's last call. Answers 'run', 'old', or 'again' with the words of
-- then, the ids that it leased, and the ticks between which their fences are.
local function look_up(q, number, verb)
  local text = q.beside
  if number == 0 or not text then
    return 'run'
  end
  local last, last_verb, low, high, size, at = struct.unpack(RECORD, text)
  if number > last then
    return 'run'
  end
  if number < last or verb ~= last_verb then
    return 'old'
  end
  local words, leases = {}, { low = low, high = high }
  for word in text:sub(at, at + size - 1):gmatch('[^\n]+') do
    words[#words + 1] = word
  end
  for from = at + size, #text, 22 do
    leases[#leases + 1] = text:sub(from, from + 21)
  end
  return 'again', words, leases
end

-- `leases` are leased tasks of this call, to be found again by a copy.
local function remember(q, caller, number, verb, words, leases)
  if number == 0 then
    return
  end
  local text = table.concat(words, '\n')
  local record = struct.pack(RECORD, number, verb, q.opened, q.tick, #text) .. text
  if #leases > 0 then
    local parts = { record }
    for i = 1, #leases do
      parts[i + 1] = leases[i].id
    end
    record = table.concat(parts)
  end
  redis.call('SET', last_call(caller), record, 'PX', '600000')
end
