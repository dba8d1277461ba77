"""The state cache: what is in it, and away with it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rxgraphql.cache import CacheAdmin, Cached, server_url
from rxgraphql.channel import registry
from rxgraphql.conf import cache_ttl_problem
from rxgraphql.log import FAILURES


class Command(BaseCommand):
    help = "Shows, clears or expires the states of channels that are cached in Redis."

    def add_arguments(self, parser: Any) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="list|clear|expire")
        for name, text in (
            ("list", "Shows each state's channel, key, position, size and seconds left."),
            ("clear", "Removes states: the next process loads them from the database."),
            ("expire", "Sets the seconds that states have left."),
        ):
            action = actions.add_parser(name, help=text, description=text)
            action.add_argument("channel", nargs="?", default="", help="ChatRoom or chat_room")
            action.add_argument("key", nargs="?", help="the instance's primary key")
            if name == "expire":
                action.add_argument(
                    "--seconds", type=float, required=True, help="how long they stay from now"
                )

    def handle(self, *args: Any, **options: Any) -> None:
        channel = _field_name(options["channel"]) if options["channel"] else ""
        key = options["key"]
        if key is not None and not channel:
            raise CommandError("A key is one of a channel's: name the channel before it.")
        url = server_url()
        if url is None:
            raise CommandError(
                "REDIS_URL is not set, and the server for development isn't running: there is no cache. Start "
                "`manage.py runserver` first, or set REDIS_URL."
            )
        try:
            with CacheAdmin(url) as admin:
                match options["action"]:
                    case "list":
                        self._list(admin.found(channel, key))
                    case "clear":
                        self._say("Cleared", admin.clear(channel, key))
                    case "expire":
                        seconds = _seconds(options["seconds"])
                        self._say("Expiring", admin.expire(seconds, channel, key))
        except FAILURES as error:
            # not the address: it may have a password in it
            reason = str(error).rstrip(".")
            raise CommandError(
                f"The server at REDIS_URL can't be reached: {reason}. Start it, or correct REDIS_URL."
            ) from error

    def _list(self, found: list[Cached]) -> None:
        head = ("channel", "key", "position", "bytes", "seconds left")
        rows = [head, *map(_row, found)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.stdout.write("  ".join(cells).rstrip())

    def _say(self, verb: str, count: int) -> None:
        self.stdout.write(f"{verb} {count} state{'' if count == 1 else 's'}.")


def _row(cached: Cached) -> tuple[str, ...]:
    position = "of another version" if cached.mark is None else str(cached.mark.sequence)
    return (cached.channel, cached.key, position, str(cached.size), f"{cached.seconds:.0f}")


def _field_name(text: str) -> str:
    for channel in registry.channels():
        if text in (channel.field_name, channel.graphql_name, channel.__name__):
            return channel.field_name
    known = ", ".join(channel.graphql_name for channel in registry.channels()) or "none"
    raise CommandError(f"There is no channel {text!r}. Channels are: {known}.")


def _seconds(seconds: float) -> float:
    if problem := cache_ttl_problem(seconds):
        raise CommandError(f"--seconds {problem}")
    if not seconds:
        raise CommandError("--seconds is 0. Remove states by `manage.py rxcache clear`.")
    return seconds
