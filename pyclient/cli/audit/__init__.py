"""Looks at all keys of a queue, and says what does not hold.

`snapshot` what was read · `records` the packed bytes in it · `invariants` what must hold ·
`reading` how a live queue is read without harm · `looks` a finding is seen twice before it is told.
"""
