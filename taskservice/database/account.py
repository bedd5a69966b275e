"""The account that the embedded PostgreSQL runs as, which is another one when the service runs as root.

PostgreSQL refuses to run as root. It then runs as the owner of the data directory; if that is root too, under a user
id that belongs to nobody else, because every process with the same user id can read and write the server's files
through `/proc`. Directories above the data or the programs may be closed to that account (`/root` is 0700): root enters
the data directory before it gives up its rights, and copies the programs. No directory changes its permissions.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from taskservice.database.failures import Unusable

COPIES_FOR_ROOT = Path("/var/lib/taskservice")
UNUSED_IDS: Final = (1_900_000_000, 64_400)
"""Where user ids are looked for that no system gives to users; the second for containers with few ids."""
IDLE_ACCOUNTS: Final = frozenset({"games", "news", "uucp", "lp", "irc"})
"""Named accounts under which hardly anything runs today."""


@dataclass(frozen=True)
class Account:
    """A user id and its group. What cannot be done raises OSError with a sentence."""

    uid: int
    gid: int
    name: str | None
    """None for an id that has no entry in the user database."""
    is_another: bool
    """Whether this process, which is root then, has to become that user."""

    @classmethod
    def for_data_in(cls, directory: Path, cluster: Path) -> "Account":
        """This user; for root the owner of the directory, or an id of its own if that is root as well."""
        mine = os.geteuid()
        if mine != 0:
            if cluster.exists() and cluster.stat().st_uid != mine:
                raise PermissionError(f"{cluster} belongs to another user")
            return cls(mine, os.getegid(), _name_of(mine), is_another=False)
        owner = (cluster if cluster.exists() else directory).stat()
        name = _name_of(owner.st_uid)
        if owner.st_uid != 0 and name != "nobody" and (name is not None or cluster.exists()):
            return cls(owner.st_uid, owner.st_gid, name, is_another=True)
        uid = _unused_id(directory)
        return cls(uid, uid, None, is_another=True)

    def for_initdb(self) -> "Account":
        """`initdb` refuses an id without a name. It borrows one for a second; the files are given to us afterwards."""
        if self.name is not None:
            return self
        if not self.is_another:
            raise PermissionError(f"user id {self.uid} has no name on this machine, without which initdb refuses it")
        used = _used_ids()
        entries = [entry for entry in pwd.getpwall() if entry.pw_name in IDLE_ACCOUNTS and entry.pw_uid not in used]
        entry = entries[0] if entries else pwd.getpwnam("nobody")
        return Account(entry.pw_uid, entry.pw_gid, entry.pw_name, is_another=True)

    def start(
        self,
        command: Sequence[str],
        directory: Path,
        output: IO[bytes],
        *,
        environment: dict[str, str],
        keep: Sequence[int] = (),
    ) -> "subprocess.Popen[bytes]":
        """Start it as this user, in a session of its own, with the descriptors `keep`. Root enters `directory`."""
        return subprocess.Popen(  # noqa: S603 (its callers build every command)
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
        )

    def sees_as(self, directory: Path) -> str:
        """How to name the directory to a program that runs in it."""
        return "/proc/self/cwd" if self.is_another and sys.platform == "linux" else str(directory)

    def own(self, path: Path) -> None:
        """Give it to this account, with all that is in it."""
        if self.is_another:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)
            for _, directories, files, descriptor in os.fwalk(path):
                for name in (*directories, *files):
                    os.chown(name, self.uid, self.gid, dir_fd=descriptor, follow_symlinks=False)

    def programs(self, binaries: Path) -> Path:
        """These programs of a PostgreSQL, or a copy of them that this account can run."""
        if not self.is_another or self._can_run(binaries):
            return binaries
        installed, package = binaries.parent, binaries.parent.parent
        original = (binaries / "postgres").stat()
        name = f"{package.name}-{installed.name}-{original.st_dev}-{original.st_ino}-{original.st_mtime_ns}"
        copy = COPIES_FOR_ROOT / name
        if not copy.is_dir():
            COPIES_FOR_ROOT.mkdir(parents=True, exist_ok=True)
            COPIES_FOR_ROOT.chmod(0o755)  # whatever the umask
            with tempfile.TemporaryDirectory(dir=COPIES_FOR_ROOT) as temporary:
                unfinished = Path(temporary) / "copy"
                ignored = shutil.ignore_patterns("include", "*.a", "pkgconfig")
                shutil.copytree(installed, unfinished / package.name / installed.name, ignore=ignored)
                # The programs look for these beside the package.
                libraries = package.with_name(f"{package.name}.libs")
                if libraries.is_dir():
                    shutil.copytree(libraries, unfinished / libraries.name)
                with contextlib.suppress(OSError):  # another process was quicker
                    unfinished.rename(copy)
        return copy / package.name / installed.name / "bin"

    def _can_run(self, binaries: Path) -> bool:
        try:
            with Path(os.devnull).open("wb") as output:
                return (
                    self.start([str(binaries / "postgres"), "--version"], Path("/"), output, environment={}).wait() == 0
                )
        except PermissionError:
            return False


def _used_ids() -> set[int]:
    """Of the processes that run now."""
    used = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            used.add(process.stat().st_uid)
    return used


def _name_of(uid: int) -> str | None:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return None


def _unused_id(directory: Path) -> int:
    """The same for a directory at each call, as long as nobody else uses it."""
    start = zlib.crc32(os.fsencode(directory.resolve()))
    used = _used_ids()
    for base in UNUSED_IDS:
        for step in range(100):
            uid = base + (start + step) % 100
            if _name_of(uid) is None and uid not in used and _exists_here(uid):
                return uid
    raise Unusable("no user id is free for the embedded PostgreSQL: run the service as another user than root")


def _exists_here(uid: int) -> bool:
    """Whether this container has the id: a container without privileges has only some."""
    with tempfile.TemporaryFile() as file:
        try:
            os.fchown(file.fileno(), uid, uid)
        except OSError:
            return False
    return True
