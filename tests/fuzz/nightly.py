"""Searches for inputs that surprise a reader, guided by coverage: `make fuzz`.

One process for each target, for so many seconds. An input that was found is in `.fuzz/<target>/`: add it to the seeds
of the target, so that every run of the tests tries it. Needs atheris, which is in the group `fuzz` only.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import atheris

FOUND = Path(__file__).parents[2] / ".fuzz"
MEMORY_MAX_MB = 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    parser.add_argument("--target", help="this one only, in this process")
    asked = parser.parse_args()
    with atheris.instrument_imports(include=["taskservice"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415 (instrumented while it is imported)
    if asked.target is None:
        # All of them, so that one finding does not hide the others.
        runs = [
            subprocess.run([sys.executable, "-m", __spec__.name, *sys.argv[1:], "--target", target.name], check=False)
            for target in TARGETS
        ]
        return max(run.returncode for run in runs)
    target = next(target for target in TARGETS if target.name == asked.target)
    directory = FOUND / target.name
    directory.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (directory / f"seed-{number}").write_bytes(seed)
    options = [
        f"-max_total_time={asked.seconds}",
        f"-rss_limit_mb={MEMORY_MAX_MB}",
        f"-artifact_prefix={directory}/found-",
        "-max_len=65536",
        "-timeout=10",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    print(f"== {target.name}", flush=True)
    atheris.Setup([sys.argv[0], *options, str(directory)], target.run_within_budget)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
