"""What `docs/reliability.md` says of failovers is what was measured. None is made here: that takes minutes."""

from bench.failover import table
from bench.failover.scenarios import SCENARIOS
from bench.reliability.__main__ import DOCUMENT


def test_every_scenario_was_measured_and_stands_on_the_page() -> None:
    assert set(table.read()) == set(SCENARIOS)
    assert table.section() in DOCUMENT.read_text("utf-8")


def test_only_asynchronous_replication_lost_writes_and_it_did_so_that_a_loss_can_be_seen() -> None:
    for name, ways in table.read().items():
        lost = [found["lost"] for found in ways.values()]
        assert all(lost) if not SCENARIOS[name].synchronous else not any(lost), name
        assert not any(found["hung"] for found in ways.values())
