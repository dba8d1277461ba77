-- Put before the other scripts. KEYS[1] is the epoch's key.
-- The epoch names one unbroken history: a stored random text, which FLUSHALL takes away, and the replication id, which a
-- failover changes. Neither alone is enough: a promoted replica has the stored text but may lack the last writes.
local function epoch(nonce)
  local stored = redis.call('GET', KEYS[1])
  if not stored then
    stored = nonce
    redis.call('SET', KEYS[1], stored)
  end
  local id = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
  return stored .. '-' .. string.sub(id, 1, 16)
end
