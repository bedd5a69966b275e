"""Who the embedded PostgreSQL runs as, and how that account gets at what is closed to it.

PostgreSQL refuses root, so root becomes somebody else for it. That account may be kept out by any directory above the
data or the programs (`/root` is 0700): the data is entered before root lets go, and the programs are copied.
No directory changes its permissions.
"""

import contextlib
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

COPIES_FOR_ROOT = Path("/var/lib/taskservice")


@dataclass(frozen=True)
class Account:
    """A user of this machine. What cannot be done raises OSError with a sentence."""

    uid: int
    gid: int
    name: str | None
    """None where a data directory came from another machine. Good enough for the server, not for `initdb`."""
    is_another: bool
    """Whether this process, which is root then, has to become that user."""

    @classmethod
    def owning(cls, cluster: Path) -> "Account":
        """The owner of an existing cluster: PostgreSQL refuses everybody else."""
        owner, mine = cluster.stat(), os.geteuid()
        if owner.st_uid == 0:
            raise PermissionError(f"{cluster} belongs to root, whom PostgreSQL refuses: give it to another user")
        if mine not in (0, owner.st_uid):
            raise PermissionError(f"{cluster} belongs to another user")
        name = None
        with contextlib.suppress(KeyError):
            name = pwd.getpwuid(owner.st_uid).pw_name
        return cls(owner.st_uid, owner.st_gid, name, is_another=mine == 0)

    @classmethod
    def for_new_cluster_in(cls, directory: Path) -> "Account":
        """This user; for root the owner of the directory, or `nobody` if that is root as well or has no name here."""
        mine = os.geteuid()
        if mine != 0:
            return cls(mine, os.getegid(), name_of(mine), is_another=False)
        entry = pwd.getpwnam("nobody")
        owner = directory.stat().st_uid
        if owner != 0:
            with contextlib.suppress(KeyError):
                entry = pwd.getpwuid(owner)
        return cls(entry.pw_uid, entry.pw_gid, entry.pw_name, is_another=True)

    def run(
        self, command: list[str], directory: Path, environment: dict[str, str], output: BinaryIO, keep: tuple[int, ...]
    ) -> int:
        """Run as this user, in a session of its own, with the descriptors `keep`. `directory` is entered as root."""
        return subprocess.run(  # noqa: S603 (its callers build every command)
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=keep,
            start_new_session=True,
            umask=0o077,
            user=self.uid if self.is_another else None,
            group=self.gid if self.is_another else None,
            extra_groups=[] if self.is_another else None,
            check=False,
        ).returncode

    def sees_as(self, directory: Path) -> str:
        """How to name the directory to a program that runs in it."""
        return "/proc/self/cwd" if self.is_another and sys.platform == "linux" else str(directory)

    def give(self, path: Path) -> None:
        if self.is_another:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def owns_privately(self, directory: Path) -> bool:
        try:
            found = directory.lstat()
        except OSError:
            return False
        return stat.S_ISDIR(found.st_mode) and found.st_uid == self.uid and not found.st_mode & 0o077

    def reachable(self, binaries: Path) -> Path:
        """These programs of a PostgreSQL, or a copy of them, where this user can run them."""
        if not self.is_another or self.can_run(binaries):
            return binaries
        installed = binaries.parent
        package = installed.parent
        libraries = package.with_name(f"{package.name}.libs")  # found by their place relative to the programs
        original = (binaries / "postgres").stat()
        key = f"{original.st_dev}-{original.st_ino}-{original.st_mtime_ns}"
        copy = COPIES_FOR_ROOT / f"{package.name}-{installed.name}-{key}"
        if not copy.is_dir():
            with contextlib.suppress(FileExistsError):
                COPIES_FOR_ROOT.mkdir()
                COPIES_FOR_ROOT.chmod(0o755)  # whatever the umask
            with tempfile.TemporaryDirectory(dir=COPIES_FOR_ROOT) as temporary:
                unfinished = Path(temporary) / "installed"
                shutil.copytree(
                    installed,
                    unfinished / package.name / installed.name,
                    ignore=shutil.ignore_patterns("include", "*.a", "pkgconfig"),
                )
                if libraries.is_dir():
                    shutil.copytree(libraries, unfinished / libraries.name)
                try:
                    unfinished.rename(copy)
                except OSError:
                    if not copy.is_dir():  # else somebody was quicker
                        raise
        return copy / package.name / installed.name / "bin"

    def can_run(self, binaries: Path) -> bool:
        try:
            with Path(os.devnull).open("wb") as nowhere:
                return self.run([str(binaries / "postgres"), "--version"], Path("/"), {}, nowhere, ()) == 0
        except PermissionError:
            return False


def name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        raise PermissionError(
            f"user id {uid} has no name on this machine, without which PostgreSQL refuses it"
        ) from None
