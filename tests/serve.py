"""uvicorn on a socket that the test has bound, so that no port is guessed.

`python -m tests.serve APP FD WORKERS [OPTION=LITERAL ...]`
"""

from __future__ import annotations

import ast
import socket
import sys
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess


def main(app: str, fd: str, workers: str, *arguments: str) -> None:
    listener = socket.socket(fileno=int(fd))
    options: dict[str, Any] = {
        "ws_per_message_deflate": False,
        "timeout_graceful_shutdown": 5,
        # tests stop a worker for a while, which is no reason to replace it
        "timeout_worker_healthcheck": 60,
    }
    for argument in arguments:
        name, _, value = argument.partition("=")
        options[name] = ast.literal_eval(value)
    config = uvicorn.Config(app, workers=int(workers), **options)
    if config.workers > 1:
        Multiprocess(config, sockets=[listener]).run()
    else:
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(*sys.argv[1:])
