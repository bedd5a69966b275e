"""What a check reports."""

from msgspec import Struct


class Violation(Struct, frozen=True):
    """One answer that no order of the writes explains."""

    rule: str
    user: str
    message: str
    calls: tuple[int, ...] = ()

    def __str__(self) -> str:
        calls = ", ".join(f"call {number}" for number in self.calls)
        return f"{self.rule}: {self.message} ({self.user}; {calls})"
