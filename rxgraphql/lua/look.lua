-- Which history does the server have? Asked by a writer that has nothing to say.
-- KEYS: epoch, counter, sequence.
-- ARGV: a random text.
-- Returns the epoch.
return epoch(ARGV[1])
