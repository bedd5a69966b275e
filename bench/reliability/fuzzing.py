"""What `docs/reliability.md` says of the fuzzing of readers, which goes on with `make fuzz`."""

from typing import Final

SECTION: Final = """\
## Inputs that are searched for, guided by coverage

`.venv-fuzz/bin/python -m tests.fuzz.nightly --seconds=40`

The first half of `make fuzz`, for 40 seconds a reader in place of ten minutes. Each input may take 50 ms of the
processor (a setting 250 ms) and 64 MiB of memory; whatever takes more, or raises what the reader should not, is found.

| reader | inputs |
|---|---:|
| JSON documents | 788,558 |
| the body of a task | 795,177 |
| the file of an import, JSON and CSV | 95,398 and 12,671 |
| dates | 369,353 |
| cursors | 185,501 |
| tokens, any and signed ones | 278,347 and 193,097 |
| tokens of the change feed | 99,496 |
| entity tags | 62,468 |
| query strings | 26,686 |
| database URLs | 5,688 |
| settings | 1,726 |
| **found** | **0** |

The largest process had 128 MiB, with the program and what it had learned.
"""
