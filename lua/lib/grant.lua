-- @include lease
-- @include post
-- Hold mode: the same choice, lease and fence as a claim, on the owners' behalf.

-- Grant the next turns; returns the tasks of `caller` among them and whether to go on.
local function grant(q, caller)
  local picked, more = choose(q, 64, 9)
  lease(q, picked, nil)
  local mine, posts = {}, {}
  for i = 1, #picked do
    local t = picked[i]
    if t.p.inbox == caller then
      mine[#mine + 1] = t
    else
      local value = ('granted\n%.0f %.0f'):format(t.fence, t.p.run_ms)
      post_value(posts, t.p.inbox, t.id, value, 1)
    end
  end
  send_posts(q, posts)
  more = #picked == 64 and 1 or more
  if more == 1 then
    q.gate = 0 -- the sweep that goes on must find it open
  end
  return mine, more
end
