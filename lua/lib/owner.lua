-- @include queue
-- A task is owned as long as the inbox of its owner lives, or of one that watches it. A kept task
-- outlives them all, and while the queue is in grace nobody counts as gone.

local function has_inbox(q, inbox)
  q.owners = q.owners or {}
  if q.owners[inbox] == nil then
    q.owners[inbox] = redis.call('EXISTS', q.prefix .. 'inbox:' .. inbox) == 1
  end
  return q.owners[inbox]
end

local function is_watched(q, id)
  local inboxes = redis.call('LRANGE', q.prefix .. 'watch:' .. id, 0, 63)
  for i = 1, #inboxes do
    inboxes[i] = q.prefix .. 'inbox:' .. inboxes[i]
  end
  return #inboxes > 0 and redis.call('EXISTS', unpack(inboxes)) > 0
end

local function is_owned(q, t)
  return q.graced or t.keep > 0 or has_inbox(q, t.inbox) or t.flags % 2 == 1 and is_watched(q, t.id)
end
