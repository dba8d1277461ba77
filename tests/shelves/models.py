"""Models with managers that see bulk operations, in every place where Django uses one."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models

from rxgraphql import LiveManager, LiveQuerySet


class BookQuerySet(LiveQuerySet["Book"]):
    def sell(self) -> int:
        return self.update(sold=True)


class ForSale(LiveManager.from_queryset(BookQuerySet)):  # type: ignore[misc]
    def get_queryset(self) -> Any:
        return super().get_queryset().filter(sold=False)


class Shelf(models.Model):
    id = models.CharField(max_length=20, primary_key=True)
    name = models.CharField(max_length=50, blank=True)

    objects: Any = LiveManager()


class WideShelf(Shelf):
    """A table of its own beside the shelf's."""

    width = models.IntegerField(default=1)

    objects: Any = LiveManager()


class Genre(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=50, unique=True)

    objects: Any = LiveQuerySet["Genre"].as_manager()


class Book(models.Model):
    shelf = models.ForeignKey(Shelf, models.SET_NULL, null=True, related_name="books")
    title = models.CharField(max_length=50)
    position = models.IntegerField(default=0)
    sold = models.BooleanField(default=False)
    genres = models.ManyToManyField(Genre, through="Shelving", related_name="books")

    objects: Any = ForSale()
    everything: Any = BookQuerySet.as_manager()

    class Meta:
        ordering = ("position", "id")


class Shelving(models.Model):
    """That a book is of a genre."""

    book = models.ForeignKey(Book, models.CASCADE)
    genre = models.ForeignKey(Genre, models.CASCADE)
    weight = models.IntegerField(default=0)

    objects: Any = LiveManager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=("book", "genre"), name="one_shelving")]


class Receipt(models.Model):
    """No channel reads it."""

    book = models.ForeignKey(Book, models.CASCADE, null=True, related_name="receipts")
    total = models.IntegerField(default=0)

    objects: Any = LiveManager()
