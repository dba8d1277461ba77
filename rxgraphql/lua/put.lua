-- A process puts a state into the cache, unless another one has put a newer one of the same history there.
-- KEYS: the state. ARGV: the blob, milliseconds until it expires.
-- Returns 1 when it is there now, 0 when the one that was there stays.
local function words(blob)
  local found = {}
  for word in string.gmatch(string.match(blob, '^[^\n]*') or '', '%S+') do
    found[#found + 1] = word
  end
  return found
end
-- Of both only the first line: blob.py's format, layout, epoch, generation, sequence, highest, loaded_end.
local held = words(redis.call('GETRANGE', KEYS[1], 0, 255))
local new = words(string.sub(ARGV[1], 1, 256))
local same = held[1] == new[1] and held[2] == new[2] and held[3] == new[3] and held[4] == new[4]
-- At one position the one that was compared with the database later is the newer one.
local at, end_at = tonumber(held[5]) or -1, tonumber(held[7]) or -1
local older = at > tonumber(new[5]) or (at == tonumber(new[5]) and end_at >= tonumber(new[7]))
if same and older then
  if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
  end
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
