"""What a machine cannot test is said in one block, with the commands that bring what is missing."""

from pathlib import Path

import pytest

from tests.setup.test_failing_tests import session_of

pytestmark = pytest.mark.slow

SKIPS = """
import pytest
from tests.support import needs

def test_one(): needs.program("no-such-program", package="the-package")
def test_two(): needs.program("no-such-program", package="the-package")
def test_three(): needs.program("another-program")
def test_four(): pytest.skip("the moon is full")
"""


def test_the_block_groups_the_skipped_tests_by_the_command_that_brings_what_they_need(tmp_path: Path) -> None:
    session = session_of(tmp_path, SKIPS)
    assert session.returncode == 0, session.stdout
    block = session.stdout.partition(" 4 skipped ")[2].splitlines()[1:]
    assert block[:3] == [
        "    1 need another-program:  apt-get install another-program",
        "    2 need no-such-program:  apt-get install the-package",
        "    1 the moon is full",
    ]
    assert "All of Debian's at once:  apt-get install another-program the-package" in block
