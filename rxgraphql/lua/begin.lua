-- A writer has committed and asks which of its models are watched, and for a ticket if any is.
-- KEYS: epoch, counter, sequence, a lease for each label, then a promise for each label.
-- ARGV: a random text, the milliseconds that "nobody watches" is promised for.
-- Returns {epoch, ticket or 0, 1 or 0 for each label}.
local labels = (#KEYS - 3) / 2
local reply = {epoch(ARGV[1]), 0}
local watched = false
for i = 1, labels do
  if redis.call('EXISTS', KEYS[3 + i]) == 1 then
    reply[2 + i] = 1
    watched = true
  else
    -- The hub that comes next waits for this key to be gone before it notes the counter: see watch.lua.
    redis.call('SET', KEYS[3 + labels + i], '1', 'PX', ARGV[2])
    reply[2 + i] = 0
  end
end
if watched then
  reply[2] = redis.call('INCR', KEYS[2])
end
return reply
