"""What a figure depends on: the hardware and the versions. Nothing that would identify the machine."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil

from bench import toolchains
from bench.load import generator

PACKAGES = (
    "litestar",
    "advanced-alchemy",
    "sqlmodel",
    "sqlalchemy",
    "asyncpg",
    "msgspec",
    "pyjwt",
    "uvicorn",
    "uvloop",
    "httptools",
    "fastapi",
    "pydantic",
)


def processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def description() -> dict[str, str]:
    memory = psutil.virtual_memory().total / 2**30
    return {
        "processor": f"{os.cpu_count()} cores of {processor()}",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions(postgresql: str) -> dict[str, str]:
    return {
        "Python": platform.python_version(),
        "PostgreSQL": postgresql,
        **{package: version(package) for package in PACKAGES},
        **toolchains.versions(),
        "load generator": generator(),
    }
