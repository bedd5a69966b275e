"""What `docs/reliability.md` says of attacks, which `tests/attack` repeats on every run of the tests."""

from typing import Final

SECTION: Final = """\
## What one client can take

`.venv/bin/python -m pytest tests/attack --measured`

The largest and the oddest of what one client may send, and what it leaves unread. The event loop: the processor's time
between two of its turns, of which every other client waits for at most two. The memory: of the worker, beyond what it
had before.

| attack | event loop held, at most | memory |
|---|---:|---:|
| 13 bodies, of JSON up to 16 MiB: names twice, unknown names, empty elements by the million, white space | 18 ms | |
| 5 files of CSV of 16 MiB: empty rows, rows and cells by the million, a column with a long name | 19 ms | |
| the largest import that is taken, twice under a key | 18 ms | |
| 12 of these at once, by 12 users | | 59 MiB |
| 3,000 tasks of the largest size, exported in every format | 23 ms | |
| 300 clients that ask for files of 5 MB twice, and read nothing | 7 ms | 64 MiB |
| **allowed** | **50 ms** | **64 MiB** beyond the limits |

[Limits](operations/limits.md) has the limits themselves: two imports at once, 64 MiB of what clients do not read.
"""
