-- @include queue
-- @include routes
-- @include post
-- The end of tasks: out of every key, their slot and room given back, their outcome posted.

-- Each of `ended` has id, inbox, route, flags, keep, word, body; running = true if it held a lease.
-- `silent` is the caller that needs no post, since the reply of this very call tells it.
local function finish(q, ended, silent)
  if #ended == 0 then
    return
  end
  local ids, runs, posts = {}, {}, {}
  for i = 1, #ended do
    local t = ended[i]
    ids[i] = t.id
    local r = q.routes[t.route]
    if
      q.places == 0
      or not redis.call('ZSCORE', q.prefix .. 'places', t.id .. '|' .. t.inbox .. '|' .. t.route)
    then
      add_living(r, -1)
    end
    if t.running then
      runs[#runs + 1] = t.id
      add_running(r, -1)
    end
    q[t.word] = q[t.word] + 1
    local value = t.word .. '\n' .. t.body
    if t.keep > 0 then
      keep_value(q, t.id, value, t.keep * 1000)
    end
    if t.running and #t.body == 1 then -- it travels by reference, and lives as long as its value
      local ms = t.keep > 0 and t.keep * 1000 or UNREAD
      redis.call('PEXPIRE', q.prefix .. 'body:' .. t.id .. '.out', ms)
    end
    if t.inbox ~= silent then
      post_value(posts, t.inbox, t.id, value, t.keep)
    end
    if t.flags % 2 == 1 then
      local watchers = redis.call('LRANGE', q.prefix .. 'watch:' .. t.id, 0, 63)
      for j = 1, #watchers do
        post_value(posts, watchers[j], t.id, value, 1)
      end
      redis.call('DEL', q.prefix .. 'watch:' .. t.id)
    end
  end
  redis.call('HDEL', q.prefix .. 'tasks', unpack(ids))
  if #runs > 0 then
    redis.call('ZREM', q.prefix .. 'leases', unpack(runs))
    redis.call('HDEL', q.prefix .. 'run', unpack(runs))
  end
  send_posts(q, posts)
end
