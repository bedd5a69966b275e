"""No input, of those that a short search finds, makes a reader do what it must not, or take too much time or memory."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, Target

pytestmark = pytest.mark.slow

SIZE_MAX = 64 * 1024


@st.composite
def inputs(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A seed with some pieces taken out, put in or repeated; or anything."""
    data = draw(st.sampled_from(seeds) | st.binary(max_size=200))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 20)))
        piece = draw(st.binary(max_size=4) | st.sampled_from([data[start:end] * 50, b'"', b"\\", b"0", b",", b"\x00"]))
        data = data[:start] + piece + data[end:]
    return data[:SIZE_MAX]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_nothing_surprises_a_reader(target: Target) -> None:
    for seed in target.seeds:
        target.run_within_budget(seed)

    @given(inputs(target.seeds))
    @settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    def search(data: bytes) -> None:
        target.run_within_budget(data)

    search()
