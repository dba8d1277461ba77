"""The process that keeps the embedded server and ends it with the last of its users.

Runs detached, by itself: only the standard library may be imported. `embedded.py` starts it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final

SOCKET: Final = "server.sock"
LOG: Final = "server.log"
# Held shared by every process that uses the server.
USERS_LOCK: Final = "users.lock"
# Held by the one process that looks whether a server must be started.
START_LOCK: Final = "start.lock"
# Held by the watcher as long as it lives.
WATCHER_LOCK: Final = "watcher.lock"

READY: Final = "ready"
START_TIMEOUT: Final = 10.0
STOP_TIMEOUT: Final = 5.0
# Before a server that was killed is started again.
RESTART_DELAY: Final = 0.1


def alive(path: str) -> bool:
    """Whether a server listens on this socket; the file alone may be left of a killed one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(path)
        except OSError:
            return False
    return True


class Watcher:
    def __init__(self, directory: Path, binary: str, grace: float) -> None:
        self.directory = directory
        self.socket = str(directory / SOCKET)
        self.binary = binary
        self.grace = grace
        self.ending = threading.Event()
        self.users = os.open(directory / USERS_LOCK, os.O_RDWR | os.O_CREAT, 0o600)

    def start(self) -> None:
        """Start the server. Raises RuntimeError with its words if it doesn't come up."""
        if alive(self.socket):
            # One whose watcher was killed. Its socket is about to be ours.
            self._shut_down()
        with (self.directory / LOG).open("w+") as log:
            self.server = subprocess.Popen(
                [
                    *(self.binary, "--port", "0", "--unixsocket", self.socket),
                    *("--unixsocketperm", "700", "--save", "", "--appendonly", "no"),
                    *("--dir", str(self.directory), "--daemonize", "no"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_parent,
            )
            deadline = time.monotonic() + START_TIMEOUT
            while not alive(self.socket):
                if self.server.poll() is not None or time.monotonic() > deadline:
                    self.server.kill()
                    self.server.wait()
                    log.seek(0)
                    raise RuntimeError(log.read()[-2000:])
                time.sleep(0.002)

    def run(self) -> None:
        """Return when the last user is gone, or the server can't be kept."""
        threading.Thread(target=self._await_users, daemon=True).start()
        while True:
            self.server.wait()
            if self.ending.is_set():
                break
            time.sleep(RESTART_DELAY)
            try:
                self.start()
            except RuntimeError:
                break
            if self.ending.is_set():
                self._end_server()
        Path(self.socket).unlink(missing_ok=True)
        if self.ending.is_set():
            self._clean_up()

    def _await_users(self) -> None:
        while True:
            # Nobody holds it. Between now and the second look a reloading process may come back.
            fcntl.flock(self.users, fcntl.LOCK_EX)
            fcntl.flock(self.users, fcntl.LOCK_UN)
            time.sleep(self.grace)
            try:
                # Kept until this process has ended: who comes now waits, and then starts anew.
                fcntl.flock(self.users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            break
        self.ending.set()
        self._end_server()

    def _end_server(self) -> None:
        self.server.terminate()
        try:
            self.server.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.server.kill()

    def _clean_up(self) -> None:
        """Remove the directory, unless somebody is about to start a server in it."""
        starting = os.open(self.directory / START_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(starting, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        # Who waits for this lock will see that its file is gone, and make another.
        shutil.rmtree(self.directory, ignore_errors=True)

    def _shut_down(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(START_TIMEOUT)
            connection.connect(self.socket)
            connection.sendall(b"SHUTDOWN NOSAVE NOW\r\n")
            # Ends with the server.
            while connection.recv(1024):
                pass


def _end_with_parent() -> None:
    """In the server, before it is one: a killed watcher takes it along (Linux only)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def main(directory: str, binary: str, grace: str, report_descriptor: str) -> None:
    if os.fork():
        os._exit(0)
    os.setsid()
    with socket.socket(fileno=int(report_descriptor)) as report:
        watched = os.open(Path(directory) / WATCHER_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        watcher = Watcher(Path(directory), binary, float(grace))
        try:
            fcntl.flock(watched, fcntl.LOCK_EX | fcntl.LOCK_NB)
            watcher.start()
        except (OSError, RuntimeError) as problem:
            report.sendall(str(problem).encode())
            return
        report.sendall(READY.encode())
    watcher.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
