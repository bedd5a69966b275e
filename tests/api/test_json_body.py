"""Bodies are read strictly: a document in which a name appears twice in one object is none, however it is written."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from taskservice.api.json_body import parse_json
from taskservice.problems import MalformedBody

SPACES = st.sampled_from(["", "", "", " ", "\n", "\t ", "\r\n"])
NAMES = st.sampled_from(['"a"', '"b"', '"\\u0061"', '"a\\":"', '"a:"', '"\\\\"', '""', '"ü"'])
SCALARS = st.sampled_from(["1", "null", "true", '"x"', '"\\":"', '"\\\\"', '"a\\" :"', '":"', '"\\\\\\":"', "-1.5e3"])


@st.composite
def objects(draw: Any, inner: st.SearchStrategy[str]) -> str:
    pairs = [
        f"{draw(SPACES)}{draw(NAMES)}{draw(SPACES)}:{draw(SPACES)}{draw(inner)}{draw(SPACES)}"
        for _ in range(draw(st.integers(0, 3)))
    ]
    return "{" + ",".join(pairs) + "}"


@st.composite
def arrays(draw: Any, inner: st.SearchStrategy[str]) -> str:
    return "[" + ",".join(f"{draw(SPACES)}{draw(inner)}{draw(SPACES)}" for _ in range(draw(st.integers(0, 3)))) + "]"


DOCUMENTS = st.recursive(SCALARS, lambda inner: objects(inner) | arrays(inner), max_leaves=8)


def has_a_name_twice(text: str) -> bool:
    found = False

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        found = found or len(dict(pairs)) < len(pairs)
        return dict(pairs)

    json.loads(text, object_pairs_hook=look)
    return found


@pytest.mark.slow
@given(DOCUMENTS)
@settings(max_examples=2000, deadline=None)
@example('{"a" :1,"a":2}')
@example('{"a":"\\":","a":2}')
@example('[{"a"\n:1,"a":{"b":2,"b" : 3}}]')
def test_a_name_that_stands_twice_is_found_and_no_other_document_is_refused(text: str) -> None:
    if has_a_name_twice(text):
        with pytest.raises(MalformedBody, match="appears twice"):
            parse_json(text.encode())
    else:
        assert parse_json(text.encode()) == msgspec.json.decode(text)
