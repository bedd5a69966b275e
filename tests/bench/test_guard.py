"""The guard against getting slower, and the page that is made from the figures. No load is made here."""

from xml.etree import ElementTree as ET

from bench import document, figures
from bench.agreement import comparable
from bench.comparisons import Compared
from bench.figures import Figures, Line, OperationFigures, Ratio


def operation(name: str, *, to_fastapi: float) -> OperationFigures:
    line = Line(cpu=100, database_cpu=50, per_second=5000, p50=3000, p99=9000)
    return OperationFigures(name, {"service": line, "fastapi": line}, {"fastapi": Ratio(to_fastapi, 0.05)})


def test_a_ratio_that_got_worse_by_more_than_a_quarter_is_named() -> None:
    was = [operation("get", to_fastapi=0.20), operation("create", to_fastapi=0.20)]
    now = [operation("get", to_fastapi=0.26), operation("create", to_fastapi=0.24)]
    assert figures.regressions(now, was) == ["get: 0.26 of the CPU time of FastAPI + SQLModel, was 0.20 (30% worse)"]


def test_a_comparison_within_the_service_that_got_worse_is_named() -> None:
    was, now = Compared("a, to b", 1.0, 0.05, 1.0, 1.0), Compared("a, to b", 1.3, 0.05, 1.0, 1.0)
    assert figures.worse_comparisons([now], [was]) == ["a, to b: 1.30 of the CPU time, was 1.00 (30% worse)"]
    assert figures.worse_comparisons([now], []) == []


def test_an_operation_without_committed_figures_is_no_regression() -> None:
    assert figures.regressions([operation("new", to_fastapi=9.0)], [operation("get", to_fastapi=0.2)]) == []


def test_the_chart_is_well_formed_and_shows_every_candidate() -> None:
    drawing = document.chart(Figures(operations=[operation("get & set", to_fastapi=0.2)]))
    texts = [element.text for element in ET.fromstring(drawing).iter("{http://www.w3.org/2000/svg}text")]
    assert "get & set" in texts
    assert set(figures.TITLES.values()) <= set(texts)


def test_answers_are_compared_by_the_meaning_of_their_instants() -> None:
    ours, theirs = {"at": "2026-12-01T17:00:00.500000Z"}, {"at": "2026-12-01T17:00:00.5+00:00"}
    assert comparable(ours, frozenset()) == comparable(theirs, frozenset())
    assert comparable(ours, frozenset()) != comparable({"at": "2026-12-01T17:00:00.6Z"}, frozenset())


def test_the_page_is_made_from_the_committed_figures() -> None:
    assert document.PAGE.read_text() == document.page(figures.committed())
