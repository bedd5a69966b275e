"""Checks the head of a request for what the parser does not check."""

from typing import Final

from taskservice.problems import BadRequest, HeadersTooLarge, UnknownTransferCoding, UriTooLong

URL_MAX: Final = 8 * 1024
HEAD_MAX: Final = 16 * 1024

Headers = list[tuple[bytes, bytes]]


def check_head(url: bytes, headers: Headers, version: str, protocol: bytes) -> None:
    """Raises the problem that is the answer to a bad head. Strips the blanks that the parser leaves after values."""
    size, hosts, coding = len(url), 0, b""
    for index, (name, value) in enumerate(headers):
        size += len(name) + len(value) + 4
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding":
            coding = value
        if value[-1:] in {b" ", b"\t"}:
            headers[index] = (name, value.rstrip(b" \t"))
    if len(url) > URL_MAX:
        raise UriTooLong
    if size > HEAD_MAX:
        raise HeadersTooLarge
    if version not in {"1.1", "1.0"} or protocol in {b"RTSP", b"ICE/"}:
        raise BadRequest("Only HTTP/1.1 and HTTP/1.0 are understood")
    if hosts > 1 or (not hosts and version == "1.1"):
        raise BadRequest("A request has exactly one Host header")
    if coding and coding.strip().lower() != b"chunked":
        raise UnknownTransferCoding


def upgrade_body_length(headers: Headers) -> int:
    """How long the body of a request to upgrade is. The parser takes it for data of the other protocol."""
    for name, value in headers:
        if name == b"transfer-encoding":
            raise UnknownTransferCoding("A request to upgrade has a body with Content-Length, or none")
        if name == b"content-length":
            return int(value)
    return 0
