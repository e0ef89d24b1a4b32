-- Run on the bundles (.ci/lint_lua.py), where includes and command stand together.
std = 'lua51'
-- Bundles are stripped of indentation; stylua holds the width of the files.
max_line_length = false
read_globals = { 'redis', 'bit', 'struct', 'KEYS', 'ARGV' }
