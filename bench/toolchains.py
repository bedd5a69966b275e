"""The peers that are not Python: what they need on this machine, how they are built, and which versions they are."""

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path

from bench.processes import REPOSITORY

FASTIFY = REPOSITORY / "bench" / "peers" / "fastify"
GO = REPOSITORY / "bench" / "peers" / "go"
DEBIAN_GO_PATH = Path("/usr/share/gocode")
"""Where Debian's packages put the sources of Go libraries."""
PGX = DEBIAN_GO_PATH / "src/github.com/jackc/pgx/v4"
NODE_FROM = 20


def node_lacks() -> str | None:
    """What is missing to run the peer in JavaScript, with the command that brings it."""
    if node_version() < (NODE_FROM,):
        return f"Node.js {NODE_FROM} or newer is missing: see https://nodejs.org/en/download"
    if not (FASTIFY / "node_modules").is_dir():
        return "node_modules is missing: npm install --prefix bench/peers/fastify"
    return None


def go_lacks() -> str | None:
    """What is missing to build and run the peer in Go, with the command that brings it."""
    if shutil.which("go") is None:
        return "Go is missing: apt-get install golang-go golang-github-jackc-pgx-v4-dev"
    if not PGX.is_dir():
        return "pgx is missing: apt-get install golang-github-jackc-pgx-v4-dev"
    return None


@functools.cache
def go_program() -> str:
    """The path of the Go peer, built from Debian's sources as Debian builds: without modules and without a network."""
    program = GO / "server"
    environment = {**os.environ, "GO111MODULE": "off", "GOFLAGS": "", "GOPATH": str(DEBIAN_GO_PATH)}
    subprocess.run(["go", "build", "-o", program, "."], cwd=GO, env=environment, check=True)
    return str(program)


def node_version() -> tuple[int, ...]:
    node = shutil.which("node")
    if node is None:
        return ()
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in said.strip().removeprefix("v").split("."))


def versions() -> dict[str, str]:
    """Of what the peers that can run here are made of."""
    found = {}
    if node_lacks() is None:
        found["Node.js"] = ".".join(map(str, node_version()))
        for package in ("fastify", "postgres", "fast-jwt"):
            found[package] = json.loads((FASTIFY / "node_modules" / package / "package.json").read_bytes())["version"]
    if go_lacks() is None:
        said = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout
        found["Go"] = said.strip().removeprefix("go")
        query = ["dpkg-query", "--show", "--showformat=${Version}", "golang-github-jackc-pgx-v4-dev"]
        found["pgx"] = subprocess.run(query, capture_output=True, text=True, check=False).stdout or "4"
    return found
