"""Trouble that no client causes."""

from typing import Final

BROKEN_TRIGGER: Final = """
CREATE FUNCTION break_it() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'a trigger that somebody broke'; END $$;
CREATE TRIGGER break_it BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION break_it();
"""
"""From now on, creating a task fails for a reason that the service cannot know."""
