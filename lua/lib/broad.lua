-- Redis keeps a small hash or sorted set as one list, searched from end to end for each of its
-- members; one that ever held something longer than 64 bytes (hash-max-listpack-value,
-- zset-max-listpack-value) is a table until the key is gone. So what comes in a batch comes behind
-- a stone of that length, which is taken out again at once.

local MANY = 16
local STONE = 'behind-this-stone-redis-keeps-a-table-and-not-a-list-to-search--!'

-- `args` are pairs of score and member, the stone the first of them.
local function add_members(key, args)
  if #args < 2 * MANY then
    redis.call('ZADD', key, unpack(args, 3))
  else
    redis.call('ZADD', key, unpack(args))
    redis.call('ZREM', key, STONE)
  end
end

-- `args` are pairs of field and value, the stone the first of them.
local function add_fields(key, args)
  if #args < 2 * MANY then
    redis.call('HSET', key, unpack(args, 3))
  else
    redis.call('HSET', key, unpack(args))
    redis.call('HDEL', key, STONE)
  end
end
