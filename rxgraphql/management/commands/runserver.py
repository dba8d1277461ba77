"""Django's runserver on uvicorn: pages, static files, GraphQL and its sockets, with reload."""

from __future__ import annotations

import copy
import errno
import os
import socket
import sys
from typing import Any

import uvicorn
from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.contrib.staticfiles.management.commands.runserver import Command as RunserverCommand
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections
from django.utils import autoreload
from django.utils.module_loading import import_string
from uvicorn.config import LOGGING_CONFIG

import rxgraphql
from rxgraphql.asgi import Application
from rxgraphql.conf import settings

PROBLEMS = {
    errno.EACCES: "You don't have permission to access that port.",
    errno.EADDRINUSE: "That port is already in use.",
    errno.EADDRNOTAVAIL: "That IP address can't be assigned to.",
}


class Command(RunserverCommand):
    # set by Django's handle()
    addr: str
    port: str
    use_ipv6: bool

    help = "Starts a development server: pages, static files, GraphQL and its sockets."

    def add_arguments(self, parser: Any) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--makefrontend",
            action="store_true",
            help="Runs makefrontend at every start, so that the generated modules follow the code.",
        )

    def inner_run(self, *args: Any, **options: Any) -> None:
        autoreload.raise_last_exception()
        if not options["skip_checks"]:
            self.stdout.write("Performing system checks...\n\n")
            self.check(display_num_errors=True)
        self.check_migrations()
        for connection in connections.all(initialized_only=True):
            connection.close()
        application = self.get_handler(*args, **options)
        if options["makefrontend"]:
            self.make_frontend()
        try:
            listener = self.listen()
        except OSError as error:
            self.stderr.write(f"Error: {PROBLEMS.get(error.errno or 0, error)}")
            # sys.exit() would end only this thread
            os._exit(1)
        with listener:
            self.on_bind(listener.getsockname()[1])
            self.stdout.flush()
            try:
                uvicorn.Server(uvicorn_config(application)).run(sockets=[listener])
            except KeyboardInterrupt:
                if message := options.get("shutdown_message"):
                    self.stdout.write(message)
                sys.exit(0)

    def get_handler(self, *args: Any, **options: Any) -> Any:
        """The ASGI application, which serves static files too if asked to."""
        path = getattr(django_settings, "ASGI_APPLICATION", None)
        application = import_string(path) if path else rxgraphql.asgi_application()
        static = options["use_static_handler"] and (
            django_settings.DEBUG or options["insecure_serving"]
        )
        if isinstance(application, Application):
            application.serve_static = static
            return application
        if static and apps.is_installed("django.contrib.staticfiles"):
            return ASGIStaticFilesHandler(application)
        return application

    def make_frontend(self) -> None:
        """What is wrong with the frontend must not keep the server from starting, nor stop the reloader."""
        try:
            call_command("makefrontend", stdout=self.stdout, stderr=self.stderr)
        except CommandError as error:
            self.stderr.write(f"makefrontend: {error}")

    def listen(self) -> socket.socket:
        family = socket.AF_INET6 if self.use_ipv6 else socket.AF_INET
        address = "0.0.0.0" if self.addr == "0" else self.addr
        return socket.create_server((address, int(self.port)), family=family, backlog=2048)


def uvicorn_config(application: Any) -> uvicorn.Config:
    logging: dict[str, Any] = copy.deepcopy(LOGGING_CONFIG)
    # Django's banner has said it already
    logging["loggers"]["uvicorn"]["level"] = "WARNING"
    logging["loggers"]["uvicorn.error"]["level"] = "WARNING"
    return uvicorn.Config(
        application,
        log_config=logging,
        ws_max_size=settings.RX_MAX_MESSAGE_SIZE,
        ws_per_message_deflate=False,
        lifespan="on",
        # An open stream of events would keep the server from ending.
        timeout_graceful_shutdown=1,
    )
