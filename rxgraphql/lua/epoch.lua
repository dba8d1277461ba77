-- Put before the other scripts. KEYS[1] is the epoch's key, KEYS[2] the counter's, KEYS[3] the sequence's.
-- The epoch names one unbroken history: a stored random text, which FLUSHALL takes away, and the replication id, which a
-- failover changes. Neither alone is enough: a promoted replica has the stored text but may lack the last writes.
local function epoch(nonce)
  local stored = redis.call('GET', KEYS[1])
  -- A server that is full may evict any key: numbers that begin again belong to another history.
  if not stored or redis.call('EXISTS', KEYS[2], KEYS[3]) < 2 then
    stored = nonce
    redis.call('SET', KEYS[1], stored)
    redis.call('SETNX', KEYS[2], '0')
    redis.call('SETNX', KEYS[3], '0')
  end
  local id = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
  return stored .. '-' .. string.sub(id, 1, 16)
end
