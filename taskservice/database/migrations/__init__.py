"""The schema's history. `HEAD` saves a start on a migrated database from loading Alembic to find out that it is."""

from pathlib import Path
from typing import Final

DIRECTORY: Final = Path(__file__).parent
HEAD: Final = max(path.name.partition("_")[0] for path in (DIRECTORY / "versions").glob("[0-9]*_*.py"))
VERSION_TABLE: Final = "taskservice_schema"
