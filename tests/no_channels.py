"""A schema without a channel, for what serving does whatever is behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import strawberry

from rxgraphql import Schema
from rxgraphql.auth import viewer_of

# How many `ticks` are being served.
running: set[object] = set()


@strawberry.type
class Query:
    @strawberry.field
    def me(self, info: strawberry.Info) -> str:
        return str(viewer_of(info.context).user)

    @strawberry.field
    def fail(self) -> str:
        raise ValueError("on purpose")


@strawberry.type
class Mutation:
    @strawberry.mutation
    def double(self, number: int) -> int:
        return number * 2


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def ticks(self, to: int = 3) -> AsyncGenerator[int, None]:
        """Counts, then waits for ever."""
        token = object()
        running.add(token)
        try:
            for number in range(to):
                yield number
            await asyncio.Event().wait()
        finally:
            running.discard(token)

    @strawberry.subscription
    async def count(self, to: int = 3) -> AsyncGenerator[int, None]:
        for number in range(to):
            yield number

    @strawberry.subscription
    async def breaks(self) -> AsyncGenerator[int, None]:
        yield 1
        raise ValueError("on purpose")


schema = Schema(Query, Mutation, Subscription, channels=())
