"""`python -m bench.failover [NAME…]`: fail over with Patroni, and write `docs/reliability.md`.

Needs `etcd` (Debian: etcd-server) and `haproxy`; Patroni is installed into a virtual environment that is thrown away.
Without names all scenarios run, a minute each.
"""

import asyncio
import os
import shutil
import sys
import time

import msgspec

from bench.failover import table
from bench.failover.cluster import installed_patroni
from bench.failover.scenarios import SCENARIOS, run
from bench.reliability.__main__ import write_document

LONGEST = 300.0
"""Seconds for one scenario, from making its cluster to ending it."""


def main(names: list[str]) -> None:
    figures = table.read()
    with installed_patroni() as patroni:
        for name in names:
            began = time.monotonic()
            found = asyncio.run(asyncio.wait_for(run(SCENARIOS[name], patroni), LONGEST))
            figures[name] = msgspec.to_builtins(found)
            print(f"{name}: {found} in {time.monotonic() - began:.0f} s", flush=True)
            table.FIGURES.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=1) + b"\n")
            write_document()


if __name__ == "__main__":
    unknown = set(sys.argv[1:]) - set(SCENARIOS)
    if unknown:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(SCENARIOS)}")
    for program, package in (("etcd", "etcd-server"), ("haproxy", "haproxy")):
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None:
            sys.exit(f"{program} is not installed: apt-get install {package}")
    main(sys.argv[1:] or list(SCENARIOS))
