"""`peakshaver demo` and `peakshaver up`: whole systems on one machine, each part a process.

Nothing here imports the apps: they are started as a user would start them, and a warden sees to
it that none outlives the command.
"""
