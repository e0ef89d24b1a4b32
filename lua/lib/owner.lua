-- @include queue
-- A task is owned as long as its owner is heard of, or one that watches it. A kept task outlives
-- them all, and while the queue is in grace nobody counts as gone. `attach` gives an inbox a lease
-- and UNREAD more: who has not been heard of for a lease is gone, what it has not read is not.

local function has_inbox(q, inbox)
  local owners = q.owners
  if not owners then
    owners = {}
    q.owners = owners
  end
  local alive = owners[inbox]
  if alive == nil then
    alive = redis.call('PTTL', q.prefix .. 'inbox:' .. inbox) > UNREAD
    owners[inbox] = alive
  end
  return alive
end

local function is_watched(q, id)
  local inboxes = redis.call('LRANGE', q.prefix .. 'watch:' .. id, 0, 63)
  for i = 1, #inboxes do
    if has_inbox(q, inboxes[i]) then
      return true
    end
  end
  return false
end

local function is_owned(q, t)
  local p = t.p
  p.owned = p.keep > 0 or has_inbox(q, p.inbox)
  return p.owned or q.graced or t.flags >= 2 and is_watched(q, t.id)
end

-- Why a waiting task may not run any more, if so.
local function end_of(q, t)
  local p = t.p
  if t.tick < p.stale then
    return 'expired', ''
  end
  if not (p.owned or is_owned(q, t)) then
    return 'cancelled', 'the owner is gone'
  end
end
