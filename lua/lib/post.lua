-- @include queue
-- Values on their way to those who wait for them: one stream entry an inbox and call.

local ENTRY = 64 -- answers in one entry

local function post_value(q, posts, inbox, id, value, keep_s)
  local post = posts[inbox]
  if not post then
    post = { inbox = inbox }
    posts[inbox] = post
    posts[#posts + 1] = post
  end
  post[#post + 1] = { id, value, keep_s }
end

local function keep_value(q, id, value, ms)
  redis.call('SET', q.prefix .. 'result:' .. id, value, 'PX', ms)
end

-- XADD answers false where the inbox is gone: the value is kept for a minute instead.
local function send_posts(q, posts)
  for i = 1, #posts do
    local post = posts[i]
    for first = 1, #post, ENTRY do
      local last = math.min(first + ENTRY - 1, #post)
      local entry = {}
      for j = first, last do
        entry[#entry + 1] = post[j][1]
        entry[#entry + 1] = post[j][2]
      end
      local sent = redis.call('XADD', q.prefix .. 'inbox:' .. post.inbox, 'NOMKSTREAM', '*', unpack(entry))
      for j = first, sent and 0 or last do
        if post[j][3] == 0 then
          keep_value(q, post[j][1], post[j][2], 60000)
        end
      end
    end
  end
end
