-- @script  limit
-- @summary Take from up to four token buckets, all or none; say how long to wait otherwise.
-- @kind    grow
-- @key     prefix  string  bare prefix `<prefix>:{<queue>}:` of every key
-- @prefix  bucket: string token buckets
-- @arg     buckets groups 1..4 of name tokens period_us burst cost
-- @return  OK word:word wait_ms:int remaining:ints
-- @word    OK WAIT NEVER
-- @error   BADARG
-- @replay  not repeatable: a copy takes again
-- @cost    O(buckets)
-- @include arg bucket

local count = group_arg(1, 5, 1, 4, 'buckets')
local q = { prefix = KEYS[1], us = now_us() }
local buckets, costs, worst, never = {}, {}, 0, false
for i = 1, count do
  local at = 5 * i - 4
  local b = open_bucket(q, at)
  for j = 1, #buckets do
    if buckets[j].name == b.name then
      bad('bucket', 'each name once')
    end
  end
  local text = ARGV[at + 4]
  local refund = text:sub(1, 1) == '-'
  costs[i] = int_arg(refund and text:sub(2) or text, 0, 1000000000, 'cost') * (refund and -1 or 1)
  buckets[i] = b
end
for i = 1, count do
  local wait = bucket_wait(buckets[i], costs[i])
  never = never or not wait
  worst = math.max(worst, wait or 0)
end
local out = { 'OK', 'OK', 0 }
if never then
  out[2] = 'NEVER'
elseif worst > 0 then
  out[2], out[3] = 'WAIT', math.ceil(worst / 1000)
end
for i = 1, count do
  if out[2] == 'OK' then
    bucket_take(buckets[i], costs[i])
    save_bucket(buckets[i])
  end
  out[#out + 1] = math.floor(buckets[i].level / buckets[i].unit)
end
return out
