-- A writer appends what it has read under its ticket, and everyone who listens hears it.
-- KEYS: epoch, counter, sequence, log (a stream).
-- ARGV: a random text, the epoch of the ticket, the ticket, the body, entries to keep, the pub/sub channel.
-- Returns {1, sequence}, or {0, epoch} when the ticket is of another epoch: the writer takes a new one and reads again.
local now = epoch(ARGV[1])
if now ~= ARGV[2] then
  return {0, now}
end
local sequence = redis.call('INCR', KEYS[3])
if sequence == 1 then
  redis.call('DEL', KEYS[4])
end
-- The counter as it is now ends the interval in which the rows were read.
local head = table.concat({'1', sequence, now, ARGV[3], redis.call('GET', KEYS[2]) or ARGV[3]}, ' ')
local frame = head .. '\n' .. ARGV[4]
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[5], sequence .. '-1', 'f', frame)
redis.call('PUBLISH', ARGV[6], frame)
return {1, sequence}
