"""Every error a client can meet: its code, its status, its cause and what to do about it (RFC 9457).

A class here is the whole definition of a problem; `docs/errors.md` and `/schema/problems/{code}` are made from it.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Self

from msgspec import UNSET, Struct, UnsetType

from taskservice import rules

Location = Literal["body", "query", "path", "header"]

TYPE_PREFIX = "/schema/problems/"
ERRORS_LISTED = 500
"""More than an honest batch can have wrong. The errors after these are counted only."""


class FieldError(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One thing that is wrong with one field of a request."""

    field: str
    location: Location
    rule: str
    message: str
    limit: int | UnsetType = UNSET
    allowed: Sequence[str] | UnsetType = UNSET
    index: int | UnsetType = UNSET
    current: str | UnsetType = UNSET
    """The entity tag at which the task stands, where another one was asked for."""
    code: str | UnsetType = UNSET


class ProblemDocument(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The body of every error, `application/problem+json`."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    status_code: int
    request_id: str
    errors: Sequence[FieldError] | UnsetType = UNSET


class Problem(Exception):
    """An answer that is not the one the client hoped for."""

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]
    remedy: ClassVar[str]
    """What the developer of a client should do about it."""
    usual_detail: ClassVar[str | None] = None
    """What an answer says where nobody says more; the title where there is none."""

    def __init__(
        self,
        detail: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[FieldError] = (),
    ) -> None:
        self.detail = detail or self.usual_detail or self.title
        super().__init__(self.detail)
        self.headers: dict[str, str] = dict(headers or {})
        self.errors = tuple(errors)

    def document(self, path: bytes, request_id: str, public_url: str | None = None) -> ProblemDocument:
        """The body of the answer. `path`: as the client sent it, because an instance is a URI."""
        return ProblemDocument(
            type=f"{public_url or ''}{TYPE_PREFIX}{self.code}",
            title=self.title,
            status=self.status,
            detail=self.detail,
            instance=f"{public_url or ''}{path[:1000].decode('latin-1')}",
            code=self.code,
            status_code=self.status,
            request_id=request_id,
            errors=self.errors or UNSET,
        )

    @classmethod
    def example(cls) -> Self:
        """A problem as a client may meet it."""
        return cls()


def example_of(kind: type[Problem]) -> ProblemDocument:
    """The document of such a problem, as descriptions show it."""
    return kind.example().document(b"/api/tasks", "01976b2e-0b3c-7c4e-9d57-1f2a3b4c5d6e")


def catalogue() -> list[type[Problem]]:
    """Every problem there is, by status and code."""
    found: list[type[Problem]] = []
    unseen = Problem.__subclasses__()
    while unseen:
        kind = unseen.pop()
        unseen.extend(kind.__subclasses__())
        if "code" in kind.__dict__:
            found.append(kind)
    return sorted(found, key=lambda kind: (kind.status, kind.code))


# ---- 400: the request cannot be read


class BadRequest(Problem):
    status, code, title = 400, "bad-request", "Bad request"
    usual_detail = "The request is not well-formed HTTP"
    remedy = "Send a well-formed HTTP request."


class MalformedBody(Problem):
    status, code, title = 400, "malformed-body", "Malformed body"
    remedy = "Send one JSON document in UTF-8, each name once, without NaN, Infinity or lone surrogates."


# ---- 401: who is asking is not proven


class Unauthenticated(Problem):
    """Carries `WWW-Authenticate` as RFC 6750 wants it: no error code where no credentials were sent."""

    status = 401

    def __init__(self) -> None:
        challenge = 'Bearer realm="taskservice"'
        if type(self) is not MissingAuthentication:
            challenge += f', error="invalid_token", error_description="{self.title}"'
        super().__init__(headers={"WWW-Authenticate": challenge})


class MissingAuthentication(Unauthenticated):
    code, title = "missing-authentication", "Missing authentication"
    remedy = "Send the header `Authorization: Bearer <jwt>`."


class InvalidToken(Unauthenticated):
    code, title = "invalid-token", "Invalid token"
    remedy = (
        "Get a fresh token from the issuer this service trusts. `litestar doctor --token TOKEN` on the server says "
        "what is wrong with one."
    )


class TokenExpired(Unauthenticated):
    code, title = "token-expired", "Token expired"
    remedy = "Get a fresh token and repeat the request."


class UnknownUser(Unauthenticated):
    code, title = "unknown-user", "Unknown user"
    remedy = (
        'The token is sound, but its user is not in the users table (policy `users = "registered"`). Sign up again.'
    )


# ---- 403: known, but not allowed


class PathOwnerMismatch(Problem):
    status, code, title = 403, "path-owner-mismatch", "Forbidden"
    usual_detail = "The user in the path is not the user of the token"
    remedy = "Use the id of the token's own user (its `sub`) in the path."


class ForeignTask(Problem):
    status, code, title = 403, "foreign-task", "Forbidden"
    usual_detail = "This task belongs to another user"
    remedy = "The task belongs to another user. Drop the id; it will never be readable with this token."


# ---- 404, 405: nothing there


class NotFound(Problem):
    status, code, title = 404, "not-found", "Not found"
    usual_detail = "Nothing is served at this path"
    remedy = "Check the path against `/schema/openapi.json`."


class TaskNotFound(Problem):
    status, code, title = 404, "task-not-found", "Task not found"
    remedy = "The task never existed, was deleted (look in `/trash`), or belongs to somebody else. Refresh the list."


class MethodNotAllowed(Problem):
    status, code, title = 405, "method-not-allowed", "Method not allowed"
    usual_detail = "This path does not serve this method"
    remedy = "Use one of the methods in the header `Allow`."


# ---- 408: the request did not arrive


class RequestTimeout(Problem):
    status, code, title = 408, "request-timeout", "Request timeout"
    usual_detail = "The request did not arrive in time"
    remedy = "Send the head of a request within 10 seconds and its body within 30."


# ---- 410, 412: the state is not what the client thinks


class ResyncRequired(Problem):
    status, code, title = 410, "resync-required", "Resync required"
    usual_detail = "This token is older than the deletions still remembered, or from before a restore: resync"
    remedy = "Drop the local copy and read `/changes` again without `since`."


class PreconditionFailed(Problem):
    status, code, title = 412, "precondition-failed", "Precondition failed"
    remedy = (
        "The task changed since it was read. Read it again (its current tag is in `ETag`), merge, and retry. To a PUT "
        "with `If-None-Match: *`: the task is there already, perhaps in the trash."
    )

    def __init__(
        self,
        current: str | None = None,
        detail: str = "The task has changed since the tag in If-Match",
        *,
        errors: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(detail, headers={"ETag": current} if current else None, errors=errors)


# ---- 413 to 431: the request is not of the right kind or size


class BodyTooLarge(Problem):
    status, code, title = 413, "body-too-large", "Body too large"
    usual_detail = "The body is larger than this operation takes"
    remedy = "Send less: 64 KiB for a task, 1 MiB for a batch, 16 MiB for an import."


class UriTooLong(Problem):
    status, code, title = 414, "uri-too-long", "URI too long"
    usual_detail = "The path and the query together are too long"
    remedy = "Shorten the path or the query."


class UnsupportedMediaType(Problem):
    status, code, title = 415, "unsupported-media-type", "Unsupported media type"
    remedy = "Send `Content-Type: application/json` (PATCH also takes `application/merge-patch+json`)."


class ValidationFailed(Problem):
    status, code, title = 422, "validation-failed", "Validation failed"
    remedy = "`errors` names every field that is wrong, the rule it breaks and what is allowed. Correct them all."

    def __init__(self, errors: Sequence[FieldError]) -> None:
        count = len(errors)
        detail = "1 field is invalid" if count == 1 else f"{count} fields are invalid"
        if count > ERRORS_LISTED:
            detail += f"; the first {ERRORS_LISTED} are listed"
        super().__init__(detail, errors=errors[:ERRORS_LISTED])

    @classmethod
    def example(cls) -> Self:
        message = f"must have at most {rules.TITLE_MAX} characters"
        return cls(
            [FieldError(field="title", location="body", rule="max_length", limit=rules.TITLE_MAX, message=message)]
        )


class IdempotencyKeyReused(Problem):
    status, code, title = 422, "idempotency-key-reused", "Idempotency key reused"
    usual_detail = "This Idempotency-Key came before, with another request"
    remedy = "This key was used for another body within 24 hours. Make a fresh key for each new request."


class HeadersTooLarge(Problem):
    status, code, title = 431, "headers-too-large", "Request headers too large"
    usual_detail = "The headers are larger than the service takes"
    remedy = "Send fewer or shorter headers."


# ---- 5xx: not the client's fault


class InternalError(Problem):
    status, code, title = 500, "internal-error", "Internal server error"
    usual_detail = "An unexpected error happened; it was logged under this request id"
    remedy = "Repeat later. If it stays, tell the operator the `request_id`; the cause is in the log under it."


class UnknownTransferCoding(Problem):
    status, code, title = 501, "unknown-transfer-coding", "Unknown transfer coding"
    usual_detail = "The body arrives in a coding that the service does not know"
    remedy = "Send the body with `Content-Length`, or with `Transfer-Encoding: chunked` and no other coding."


class Unavailable(Problem):
    """Something the service needs is away; the client is told when to come back."""

    status = 503
    retry_after: ClassVar[int] = 2

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail, headers={"Retry-After": str(self.retry_after)})


class DatabaseUnavailable(Unavailable):
    code, title = "database-unavailable", "Database unavailable"
    usual_detail = "The database does not answer"
    remedy = "Wait for `Retry-After` seconds and repeat. A write is safe to repeat with an `Idempotency-Key`."


class Overloaded(Unavailable):
    code, title, retry_after = "overloaded", "Overloaded", 1
    usual_detail = "Too many requests wait for the database"
    remedy = "More requests than connections. Wait for `Retry-After` seconds and repeat."


class KeysUnavailable(Unavailable):
    code, title = "keys-unavailable", "Key server unavailable"
    usual_detail = "The issuer's keys cannot be fetched"
    remedy = "The token's key could not be fetched from its issuer. Wait for `Retry-After` seconds and repeat."


class NotReady(Unavailable):
    code, title = "not-ready", "Not ready"
    usual_detail = "The service is starting or stopping"
    remedy = "The service is starting or stopping. Wait for `Retry-After` seconds and repeat."
