"""Records what clients were told while things break, and checks that one order of all writes explains every answer.

`python -m bench.reliability history` runs it in full; `python -m bench.reliability.history FILE` checks a record again.
"""
