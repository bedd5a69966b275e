"""The list of the specifications' numbers is complete, each is proved or honestly is not, and the page says so."""

import pytest

from tests.specs.conformance import PAGE, Specification, page, results_on, specifications

EVERY = pytest.mark.parametrize("specification", specifications(), ids=lambda one: one.key)


@EVERY
def test_every_number_has_a_test_or_a_reason(specification: Specification) -> None:
    proofs = specification.proofs()
    assert set(specification.unobservable) <= set(specification.numbers)
    assert not set(specification.unobservable) & set(proofs), "what a test exercises is observable"
    assert set(proofs) | set(specification.unobservable) == set(specification.numbers)


def test_the_page_is_what_this_run_would_write(
    results: dict[tuple[str, str], str], pytestconfig: pytest.Config
) -> None:
    known = results_on(PAGE.read_text("utf-8")) if PAGE.exists() else {}
    written = page(known | results)
    if pytestconfig.getoption("conformance"):
        PAGE.write_text(written, "utf-8")
    assert PAGE.read_text("utf-8") == written, "make it anew: pytest tests/specs --conformance"
