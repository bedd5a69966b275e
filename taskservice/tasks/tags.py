"""Entity tags: `"7-k3f9q2x1"` is a place on a user's change counter and the epoch of that user.

The epoch is random. So no tag matches the list of another user at the same address, and no tag from before a restore
of the database matches what is written after it.
"""

import base64
import hashlib
from typing import Any, Final

EPOCH_LENGTH: Final = 8
TAG: Final = r'"[!#-~]*"'
"""The form of a strong entity tag (RFC 9110) in ASCII, as a regular expression."""


def entity_tag(revision: int, epoch: str) -> str:
    return f'"{revision}-{epoch}"'


def row_tag(row: Any) -> str:
    """The tag of the task in a row."""
    return f'"{row["revision"]}-{row["epoch"]}"'


def epoch_before_first_write(user_id: str) -> str:
    """The epoch of a user who has no row yet: no other user has it, and the row will get a different one."""
    digest = hashlib.blake2b(user_id.encode(), person=b"epoch", digest_size=5).digest()
    return base64.b32encode(digest).decode().lower()
