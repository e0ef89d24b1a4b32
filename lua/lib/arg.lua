-- Checks of arguments. All of them run before the first write; a failed one ends the script.

local function bad(name, expected)
  error({ err = 'BADARG ' .. name .. ': expected ' .. expected })
end

local function int_arg(text, low, high, name)
  if text == nil or #text > 16 or not text:find('^%d+$') then
    bad(name, ('digits, %.0f..%.0f'):format(low, high))
  end
  local value = text + 0 -- of digits only: no call is needed
  if value < low or value > high then
    bad(name, ('%.0f..%.0f'):format(low, high))
  end
  return value
end

-- A level, and whether a `+` behind it lets what is not got stand.
local function level_arg(text, name)
  if text == nil or not text:find('^%d%+?$') then
    bad(name, 'a digit, and + where the claim may stand')
  end
  return text:sub(1, 1) + 0, #text == 2
end

local function caller_arg(text)
  if not text or #text > 64 or not text:find('^[%w_.~-]+$') then
    bad('caller', '1..64 of [A-Za-z0-9_.~-]')
  end
  return text
end

local function id_arg(text)
  if not text or #text ~= 22 or not text:find('^[%w_-]+$') then
    bad('id', '22 of [A-Za-z0-9_-]')
  end
  return text
end

local function name_arg(text, low, name)
  if not text or #text < low or #text > 64 or not text:find('^[%w_.~/%%@+-]*$') then
    bad(name, low .. '..64 of [A-Za-z0-9_.~/%@+-]')
  end
  return text
end

-- `first` begins a list of groups of `size` that must fill the rest of ARGV.
local function group_arg(first, size, low, high, name)
  local count = (#ARGV - first + 1) / size
  if count < low or count > high or count % 1 ~= 0 then
    bad(name, ('%d..%d groups of %d'):format(low, high, size))
  end
  return count
end
