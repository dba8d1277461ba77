-- A process gives its lease back, if it is still its own: a load that took longer may have left it to another.
-- KEYS: the lease. ARGV: the token.
-- Returns 1 when it was its own.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
