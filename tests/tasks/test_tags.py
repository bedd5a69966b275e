"""Entity tags: a number and an epoch, and the epoch of somebody who has written nothing yet."""

import re

from taskservice.tasks.tags import EPOCH_LENGTH, entity_tag, epoch_before_first_write, row_tag


def test_a_tag_is_a_number_and_an_epoch_in_quotes() -> None:
    assert entity_tag(7, "k3f9q2x1") == '"7-k3f9q2x1"'
    assert row_tag({"revision": 7, "epoch": "k3f9q2x1"}) == '"7-k3f9q2x1"'


def test_who_has_written_nothing_has_an_epoch_of_their_own_that_stays() -> None:
    # It stands in tokens that clients keep, so a new release must not change it.
    assert epoch_before_first_write("alice") == "je673xuj"
    assert epoch_before_first_write("bob") != epoch_before_first_write("alice")
    assert re.fullmatch(rf"[a-z2-7]{{{EPOCH_LENGTH}}}", epoch_before_first_write("\u0451" * 255))
