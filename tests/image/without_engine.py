"""Builds docker/Dockerfile on a machine without a Docker engine, and runs what it built as an engine would.

buildah builds, on a Debian base that debootstrap makes in the place of the official Python image. The container is made
of the kernel's own parts: a mount namespace whose root is the image, read-only; a process namespace where the service
is number 1; the image's user, environment, directory and command. The network is the host's.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
BASE: Final = "localhost/python:3.11-slim-bookworm"
IMAGE: Final = "localhost/taskservice:test"
CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"
# Works in a container too, where the kernel's overlay and user namespaces may be refused.
ENVIRON: Final = os.environ | {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}

CONTAINER: Final = """
mount --bind "$1" "$1" && mount --bind /dev "$1/dev" && mount -t proc proc "$1/proc" && mount -o remount,bind,ro "$1" &&
root="$1" user="$2" directory="$3" && shift 3 &&
exec chroot --userspec="$user" "$root" env --ignore-environment --chdir="$directory" "$@"
"""


def _run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, env=ENVIRON, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout.strip()


def _make_base() -> None:
    if _run("buildah", "images", "--quiet", "--filter", f"reference={BASE}"):
        return
    packages = "--include=python3,python3-pip,python3-venv,ca-certificates"
    with tempfile.TemporaryDirectory() as directory:
        _run("debootstrap", "--variant=minbase", packages, "bookworm", directory)
        root = Path(directory)
        (root / "usr/bin/python").symlink_to("/usr/bin/python3")
        for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
            marker.unlink()
        # Whom this machine trusts, the build trusts: there may be a proxy in between.
        shutil.copy(CERTIFICATES, root / CERTIFICATES.lstrip("/"))
        container = _run("buildah", "from", "scratch")
        _run("buildah", "add", "--quiet", container, directory, "/")
        environment = ("PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", f"SSL_CERT_FILE={CERTIFICATES}")
        settings = [option for each in (*environment, f"PIP_CERT={CERTIFICATES}") for option in ("--env", each)]
        _run("buildah", "config", *settings, container)
        _run("buildah", "commit", "--quiet", "--rm", container, BASE)


class Image:
    """The built image, unpacked."""

    def __init__(self, extras: str = "") -> None:
        _make_base()
        # Of its own: tests that run side by side build, and remove what they built.
        self._name = f"{IMAGE}-{uuid.uuid4().hex}"
        build = ("buildah", "bud", "--network", "host", "--pull-never", "--format", "docker")
        chosen = ("--build-arg", f"PYTHON_IMAGE={BASE}", "--build-arg", f"EXTRAS={extras}")
        _run(*build, *chosen, "-f", "docker/Dockerfile", "-t", self._name, ".")
        inspected = json.loads(_run("buildah", "inspect", "--type", "image", self._name))
        self.config: dict[str, Any] = inspected["Docker"]["config"]
        self._container = _run("buildah", "from", "--pull-never", self._name)
        self.root = Path(_run("buildah", "mount", self._container))

    def remove(self) -> None:
        _run("buildah", "rm", self._container)
        _run("buildah", "rmi", self._name)

    def call(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it to its end; the image's own command if none is given."""
        return subprocess.run(
            self._container_command(command, environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=30,
            check=False,
        )

    def start(self, **environment: str) -> "Container":
        return Container(self._container_command((), environment))

    def _container_command(self, command: tuple[str, ...], environment: dict[str, str]) -> list[str]:
        said = [*self.config["Env"], *(f"{name}={value}" for name, value in environment.items())]
        place = (str(self.root), self.config["User"], self.config["WorkingDir"])
        namespaces = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
        return [*namespaces, "sh", "-c", CONTAINER, "container", *place, *said, *(command or self.config["Cmd"])]


class Container:
    """The service in the image, from construction to `stop`."""

    def __init__(self, command: list[str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the container)
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def output(self) -> str:
        self._log.seek(0)
        return self._log.read().decode()

    def stop(self, seconds: float = 30) -> int:
        """As `docker stop`: SIGTERM to number 1, and its exit code if it ends in time."""
        if self.running:
            pid = self._process.pid
            (first,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            os.kill(int(first), signal.SIGTERM)
        try:
            return self._process.wait(seconds)
        finally:
            self._process.kill()
            self._log.close()
