-- A hub sets or renews its leases and notes where the log stands, in one step.
-- KEYS: epoch, counter, sequence, a lease for each label, then a promise for each label.
-- ARGV: a random text, milliseconds of the leases, '1' to draw a ticket: the counter is then above all that were noted before.
-- Returns {epoch, counter, sequence, milliseconds until the last promise has expired, a generation for each label}.
local labels = (#KEYS - 3) / 2
local now = epoch(ARGV[1])
local generations = {}
local promised = 0
for i = 1, labels do
  local lease = KEYS[3 + i]
  local generation = redis.call('GET', lease)
  if generation then
    if redis.call('PTTL', lease) < tonumber(ARGV[2]) then
      redis.call('PEXPIRE', lease, ARGV[2])
    end
  else
    -- A lease that was gone: writers may have skipped commits meanwhile. Its new number tells all who held the old one.
    generation = redis.call('INCR', KEYS[2])
    redis.call('SET', lease, generation, 'PX', ARGV[2])
  end
  generations[i] = tonumber(generation)
  local left = redis.call('PTTL', KEYS[3 + labels + i])
  if left > promised then
    promised = left
  end
end
if ARGV[3] == '1' then
  redis.call('INCR', KEYS[2])
end
local reply = {now, tonumber(redis.call('GET', KEYS[2]) or '0'), tonumber(redis.call('GET', KEYS[3]) or '0'), promised}
for i = 1, labels do
  reply[4 + i] = generations[i]
end
return reply
