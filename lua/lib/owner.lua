-- @include queue
-- A task is owned as long as its owner's inbox lives. Kept and watched tasks outlive the owner,
-- and while the queue is in grace nobody counts as gone.

local function has_inbox(q, inbox)
  q.owners = q.owners or {}
  if q.owners[inbox] == nil then
    q.owners[inbox] = redis.call('EXISTS', q.prefix .. 'inbox:' .. inbox) == 1
  end
  return q.owners[inbox]
end

local function is_owned(q, t)
  return q.graced or t.keep > 0 or t.flags % 2 == 1 or has_inbox(q, t.inbox)
end
