"""A page for every problem, at the address that its `type` names, and a list of all of them."""

import re
from collections.abc import Iterable
from html import escape
from itertools import groupby
from typing import Final

import msgspec
from litestar import MediaType, Response, get
from litestar.params import FromPath

from taskservice.problems import NotFound, Problem, catalogue, example_of
from taskservice.web.layout import page

_RETRY: Final = "<p>The same request may succeed later without any change.</p>"


@get("/schema/problems", media_type=MediaType.HTML, sync_to_thread=False)
def every_problem() -> Response[str]:
    groups = "".join(
        f'<h2>{status}</h2><ul class="list">{_entries(kinds)}</ul>'
        for status, kinds in groupby(catalogue(), key=lambda kind: kind.status)
    )
    return page("problems.html", {"groups": groups}, title="Every error", root="../")


@get("/schema/problems/{code:str}", media_type=MediaType.HTML, sync_to_thread=False)
def one_problem(code: FromPath[str]) -> Response[str]:
    kind = next((kind for kind in catalogue() if kind.code == code), None)
    if kind is None:
        raise NotFound
    values = {
        "heading": escape(kind.title),
        "status": str(kind.status),
        "code": kind.code,
        "remedy": _with_code(kind.remedy),
        "example": escape(msgspec.json.format(msgspec.json.encode(example_of(kind))).decode(), quote=False),
        "retry": _RETRY if kind.status == 503 else "",
    }
    return page("problem.html", values, title=f"{kind.title} ({kind.status})", root="../../")


def _entries(kinds: Iterable[type[Problem]]) -> str:
    return "".join(
        f'<li><a href="problems/{kind.code}">{kind.code}</a><span>{escape(kind.title)}</span></li>' for kind in kinds
    )


def _with_code(text: str) -> str:
    """Text as HTML, with what stands in backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
