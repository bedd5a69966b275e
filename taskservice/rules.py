"""The task's rules, defined once: validation, CHECK constraints and the API description use them."""

from typing import Final, Literal, get_args

Status = Literal["pending", "in_progress", "completed"]
Priority = Literal["low", "medium", "high"]

# The order of these is the order in which tasks sort.
STATUSES: Final[tuple[str, ...]] = get_args(Status)
PRIORITIES: Final[tuple[str, ...]] = get_args(Priority)

DEFAULT_STATUS: Final = "pending"
COMPLETED: Final = "completed"
DEFAULT_PRIORITY: Final = "medium"

TITLE_MAX: Final = 200
GENERATED_TITLE_MAX: Final = 60
GENERATED_TITLE_MIN: Final = 30
"""The least that remains of a cut title; where a long word would leave less, the word is cut."""
UNTITLED: Final = "Untitled task"
DESCRIPTION_MAX: Final = 1000
DESCRIPTION_CEILING: Final = 10_000
"""The most that the policy `description_max` may allow."""

USER_ID_MAX: Final = 255

LIST_LIMIT: Final = 1000
SEARCH_MAX: Final = 200
IDS_MAX: Final = 100
BATCH_MAX: Final = 100
BODY_MAX: Final = 64 * 1024
BATCH_BODY_MAX: Final = 1024 * 1024
IMPORT_MAX: Final = 10_000
IMPORT_BODY_MAX: Final = 16 * 1024 * 1024
IDEMPOTENCY_KEY_MAX: Final = 255
IDEMPOTENCY_HOURS: Final = 24
TOMBSTONE_DAYS: Final = 90
"""How long the change feed reports a permanent deletion."""


def title_from(description: str | None) -> str:
    """The title of a task that was sent without one: the description's first line, cut at a word."""
    line = next((line.strip() for line in (description or "").splitlines() if line.strip()), "")
    if len(line) <= GENERATED_TITLE_MAX:
        return line or UNTITLED
    word_end = line.rfind(" ", GENERATED_TITLE_MIN, GENERATED_TITLE_MAX + 1)
    return line[: word_end if word_end > 0 else GENERATED_TITLE_MAX].rstrip()


def is_user_id(text: str) -> bool:
    """Whether this can be the id of a user: a token with any other is refused."""
    return 1 <= len(text) <= USER_ID_MAX and text.isprintable()
