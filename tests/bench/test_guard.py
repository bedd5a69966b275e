"""The guard against getting slower, and the page that is made from the figures. No load is made here."""

from xml.etree import ElementTree as ET

from bench import document, figures
from bench.agreement import comparable
from bench.comparisons import Compared
from bench.figures import Expected, Figures, Line, OperationFigures, Ratio


def operation(name: str, *, to_fastapi: float) -> OperationFigures:
    line = Line(cpu=100, database_cpu=50, per_second=5000, p50=3000, p99=9000)
    return OperationFigures(name, {"service": line, "fastapi": line}, {"fastapi": Ratio(to_fastapi, 0.05)})


def expected(*was: OperationFigures, **comparisons: float) -> Expected:
    found = Figures(operations=[*was], comparisons=[Compared(to, cpu, 0.1, 1, 1) for to, cpu in comparisons.items()])
    figures.expect(found, "a processor")
    return found.expected["a processor"]


def test_a_ratio_that_got_worse_by_more_than_a_quarter_is_named() -> None:
    was = expected(operation("get", to_fastapi=0.20), operation("create", to_fastapi=0.20))
    now = [operation("get", to_fastapi=0.26), operation("create", to_fastapi=0.24)]
    assert figures.regressions(now, was) == ["get: 0.26 of the CPU time of FastAPI + SQLModel, was 0.20 (30% worse)"]


def test_a_comparison_within_the_service_that_got_worse_is_named() -> None:
    now = Compared("batch", 1.3, 0.05, 1.0, 1.0)
    assert figures.worse_comparisons([now], expected(batch=1.0)) == [
        "batch: 1.30 of the CPU time, was 1.00 (30% worse)"
    ]
    assert figures.worse_comparisons([now], Expected()) == []


def test_an_operation_without_committed_figures_is_no_regression() -> None:
    assert figures.regressions([operation("new", to_fastapi=9.0)], expected(operation("get", to_fastapi=0.2))) == []


def test_each_kind_of_processor_has_figures_of_its_own() -> None:
    found = Figures(
        expected={
            "fast": Expected({"get": {"fastapi": 0.1, "limit": 2.0}}, {"batch": 1.1}),
            "slow": Expected({"get": {"fastapi": 0.2, "limit": 1.5}}, {"batch": 1.0}),
        }
    )
    assert figures.expected_on("slow", found) is found.expected["slow"]
    assert figures.expected_on("another", found) == Expected({"get": {"fastapi": 0.2, "limit": 2.0}}, {"batch": 1.1})
    assert figures.expected_on("another", Figures()) == Expected()


def test_the_chart_is_well_formed_and_shows_every_candidate() -> None:
    drawing = document.chart(Figures(operations=[operation("get & set", to_fastapi=0.2)]))
    texts = [element.text for element in ET.fromstring(drawing).iter("{http://www.w3.org/2000/svg}text")]
    assert "get & set" in texts
    assert set(figures.TITLES.values()) <= set(texts)


def test_answers_are_compared_by_the_meaning_of_their_instants() -> None:
    ours, theirs = {"at": "2026-12-01T17:00:00.500000Z"}, {"at": "2026-12-01T17:00:00.5+00:00"}
    assert comparable(ours, frozenset()) == comparable(theirs, frozenset())
    assert comparable(ours, frozenset()) != comparable({"at": "2026-12-01T17:00:00.6Z"}, frozenset())


def test_the_page_shows_every_figure() -> None:
    for heading in (
        "Ratios of CPU",
        "Figures",
        "The service beside itself",
        "Start-up",
        "Many clients",
        "As the work grows",
    ):
        assert f"\n## {heading}" in document.PAGE.read_text()


def test_the_page_is_made_from_the_committed_figures() -> None:
    assert document.PAGE.read_text() == document.page(figures.committed())
