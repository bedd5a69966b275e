"""The programs that are compared do the same work: each operation gets the same answer from all that offer it."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from bench import agreement, candidates, operations
from bench.candidates import Candidate
from bench.fill import DATABASE, Filling, create_database
from bench.operations import Operation, World
from bench.postgres import running_postgres
from bench.processes import Server
from tests.support.needs import skip_for_lack_of

pytestmark = pytest.mark.slow

Stand = tuple[World, dict[Candidate, Server]]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """All candidates over one database that is filled as for a measurement, with fewer users and tasks."""
    few = [Filling(filling.prefix, 5, 40) for filling in operations.FILLINGS]
    with running_postgres() as postgres, ExitStack() as stack:
        create_database(postgres, DATABASE, few)
        logs = tmp_path_factory.mktemp("logs")
        servers = {
            candidate: stack.enter_context(candidates.running(candidate, postgres.url(DATABASE), logs))
            for candidate in candidates.runnable(candidates.ALL)
        }
        yield operations.look_around(postgres, DATABASE), servers


@pytest.mark.parametrize("candidate", candidates.ALL, ids=lambda candidate: candidate.name)
def test_each_candidate_takes_part(stand: Stand, candidate: Candidate) -> None:
    lacking = candidate.lacks()
    if lacking is not None:
        what, _, command = lacking.partition(" is missing: ")
        skip_for_lack_of(what, command)
    assert candidate in stand[1]


@pytest.mark.parametrize("operation", operations.ALL, ids=lambda operation: operation.name)
def test_all_candidates_answer_alike(stand: Stand, operation: Operation) -> None:
    world, servers = stand
    agreement.check(operation, world, servers)
