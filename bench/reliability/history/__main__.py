"""`python -m bench.reliability.history FILE`: check a recorded history again."""

import sys
from pathlib import Path

from bench.reliability.history.check import check
from bench.reliability.history.record import History

if __name__ == "__main__":
    report = check(History.load(Path(sys.argv[1])))
    for violation in report.violations[:50]:
        print(violation)
    print(f"{len(report.violations)} violations; {report.changes} changes, {report.blanks} of them blank")
    sys.exit(bool(report.violations))
