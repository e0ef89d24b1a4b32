-- @include queue
-- Values on their way to those who wait for them: id, value, id, value … by inbox.

local ENTRY = 64 -- answers in one entry

local function post_value(posts, inbox, id, value, keep_s)
  local post = posts[inbox]
  if not post then
    post = {}
    posts[inbox] = post
  end
  local n = #post
  post[n + 1], post[n + 2] = id, value
  if keep_s > 0 then
    post.spare = post.spare or {}
    post.spare[id] = true
  end
end

-- `q.kept` is when the last of all kept values goes: until then an id may have one.
local function keep_value(q, id, value, ms)
  if q.kept < q.now + ms then
    q.kept = q.now + ms
  end
  redis.call('SET', q.prefix .. 'result:' .. id, value, 'PX', ms)
end

-- XADD answers false where the inbox is gone: the value is kept as long as in an inbox instead.
local function send_posts(q, posts)
  for inbox, post in pairs(posts) do
    for first = 1, #post, 2 * ENTRY do
      local last = math.min(first + 2 * ENTRY - 1, #post)
      local sent = redis.call(
        'XADD',
        q.prefix .. 'inbox:' .. inbox,
        'NOMKSTREAM',
        '*',
        unpack(post, first, last)
      )
      for i = first, sent and 0 or last, 2 do
        if not (post.spare and post.spare[post[i]]) then
          keep_value(q, post[i], post[i + 1], UNREAD)
        end
      end
    end
  end
end
