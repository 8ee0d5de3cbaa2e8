"""The whole product under load for twenty minutes, while its parts die: `python -m benchmarks.soak`.

archive.py   what the source holds, and how it changes from night to night
nodes.py     a Ray cluster of several machines; the service and the jobs run on it
outage.py    the way to the object store, which can be closed
deaths.py    every half minute something dies
clients.py   requests to the service; questions.py: what they ask
nights.py    a night after the other, and what is done by hand between them
oracle.py    the right answers, by numpy over the version that an answer names
rows.py      a night's table against the source
watches.py   the hits of watches against a comparison of versions
leftovers.py files that nothing names
background.py  work in threads
memory.py    memory of the service's processes
ledger.py    what was counted, and each harm
"""
