"""The schema's history. `HEAD` saves a start on a migrated database from loading Alembic to find out that it is."""

from pathlib import Path
from typing import Final

HEAD: Final = "0001"
DIRECTORY: Final = Path(__file__).parent
VERSION_TABLE: Final = "taskservice_schema"
