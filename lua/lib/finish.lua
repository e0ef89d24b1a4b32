-- @include queue
-- @include routes
-- @include post
-- The end of tasks: out of every key, their slot and room given back, their outcome posted.

-- Each of `ended` is a task or, if it held a lease, a run, with its word and body.
-- `silent` is the caller that needs no post, since the reply of this very call tells it.
local function finish(q, ended, silent)
  if #ended == 0 then
    return
  end
  local ids, runs, posts = {}, {}, {}
  for i = 1, #ended do
    local t = ended[i]
    local id, p, word, body, ran = t.id, t.p, t.word, t.body, t.caller
    ids[i] = id
    local r = p.r
    r.dirty = true
    if
      q.places == 0
      or not redis.call('ZSCORE', q.prefix .. 'places', id .. '|' .. p.inbox .. '|' .. p.route)
    then
      r.living = r.living - 1
    end
    if ran then
      runs[#runs + 1] = id
      r.running = r.running - 1
    end
    q[word] = q[word] + 1
    local value = word .. '\n' .. body
    if p.keep > 0 then
      keep_value(q, id, value, p.keep * 1000)
    end
    if ran and #body == 1 then -- it travels by reference, and lives as long as its value
      local ms = p.keep > 0 and p.keep * 1000 or UNREAD
      redis.call('PEXPIRE', q.prefix .. 'body:' .. id .. '.out', ms)
    end
    if p.inbox ~= silent then
      post_value(posts, p.inbox, id, value, p.keep)
    end
    if t.flags >= 2 then
      local watchers = redis.call('LRANGE', q.prefix .. 'watch:' .. id, 0, 63)
      for j = 1, #watchers do
        post_value(posts, watchers[j], id, value, 1)
      end
      redis.call('DEL', q.prefix .. 'watch:' .. id)
    end
  end
  redis.call('HDEL', q.prefix .. 'tasks', unpack(ids))
  if #runs > 0 then
    redis.call('ZREM', q.prefix .. 'leases', unpack(runs))
    redis.call('HDEL', q.prefix .. 'run', unpack(runs))
  end
  send_posts(q, posts)
end
