-- Run on the bundles (`peakshaver scripts export DIR`), where includes and command stand together.
std = 'lua51'
max_line_length = 100
read_globals = { 'redis', 'bit', 'struct', 'KEYS', 'ARGV' }
-- A bundle holds whole includes, so a command may leave a function of one unused.
ignore = { '211/[a-z_]+', '631' }
