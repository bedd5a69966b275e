"""What `docs/reliability.md` says of mutation testing, which was done once."""

from typing import Final

SECTION: Final = """\
## Mutation testing, once

A small program that is not part of the repository changed one place of a file at a time and ran its tests:
comparisons, arithmetic, `and` and `or`, `not`, constants, conditions always true or false, `return None`, and `raise`
and calls left out. A mutant is killed when a test fails.

| file | tests | mutants | killed |
|---|---|---|---|
| `tasks/tags.py` | `tests/tasks/test_tags.py` | 16 | 16 |
| `tasks/cursors.py` | `tests/tasks/test_cursors.py` | 89 | 87 |
| `tasks/changes.py` | `tests/tasks/test_feed_positions.py` | 95 | 84 |
| `api/conditional.py` | `tests/api/test_reading_headers.py` | 102 | 94 |
| `api/idempotency.py` | three of `tests/api/`, over HTTP | 72 | 65 |
| `tasks/idempotency.py` | `tests/api/test_idempotency.py` | 49 | 46 |

Cursors had 34 survivors at first, which brought tests of their exact form and spelling. What survives:

- **No difference to see**: `frozen=False`; another false value for a missing password; a decoder that leaves out odd
  characters, since a cursor must be spelled as it is written; shortcuts for one tag and for no header, which the long
  way reads alike; a loop that ends at the end of the header in another way; the last of a query parameter's values, of
  which there is one.
- **No difference but the cost**: a transaction for a write without a key; separators in the fingerprint of a request; a
  key that expires at its microsecond or after it.
- **For tests over HTTP**: the form of live tasks in the feed (`tests/api/test_changes.py`).
"""
