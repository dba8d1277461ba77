"""Boards of columns of cards of notes; people and labels that many of them share.

Every row carries a `version`, which each edit raises, and the `stamp` of the step that wrote it.
"""

from __future__ import annotations

from typing import Any

from django.db import models

import rxgraphql

Manager: Any = rxgraphql.LiveManager


class VisibleManager(Manager):  # type: ignore[misc]
    def get_queryset(self) -> Any:
        return super().get_queryset().filter(hidden=False)


class Versioned(models.Model):
    version = models.PositiveIntegerField(default=1)
    stamp = models.CharField(max_length=40)

    class Meta:
        abstract = True


class Person(Versioned):
    # "ada:7": who, and the row's version
    name = models.CharField(max_length=60)

    objects: Any = Manager()

    class Meta:
        verbose_name_plural = "people"


class Label(Versioned):
    name = models.CharField(max_length=60)

    objects: Any = Manager()

    class Meta:
        ordering = ("name", "id")


class Board(Versioned):
    members: Any = models.ManyToManyField(Person, related_name="boards")
    pinned = models.ForeignKey("Card", models.SET_NULL, null=True, related_name="+")

    objects: Any = Manager()


class Column(Versioned):
    """With Django's own managers: nobody is told when its owner is deleted, and set to NULL."""

    board = models.ForeignKey(Board, models.CASCADE, related_name="columns")
    owner = models.ForeignKey(Person, models.SET_NULL, null=True, related_name="+")
    position = models.IntegerField(default=0)

    objects: Any = models.Manager()

    class Meta:
        ordering = ("position", "id")


class Card(Versioned):
    column = models.ForeignKey(Column, models.CASCADE, related_name="cards")
    author = models.ForeignKey(Person, models.CASCADE, related_name="+")
    assignee = models.ForeignKey(Person, models.SET_NULL, null=True, related_name="+")
    reviewer = models.ForeignKey(Person, models.SET_NULL, null=True, related_name="+")
    position = models.IntegerField(default=0)
    hidden = models.BooleanField(default=False)
    labels: Any = models.ManyToManyField(Label, related_name="cards")

    objects: Any = VisibleManager()
    everything: Any = Manager()

    class Meta:
        ordering = ("-position", "id")


class Note(Versioned):
    card = models.ForeignKey(Card, models.CASCADE, related_name="notes")
    by = models.ForeignKey(Person, models.SET_NULL, null=True, related_name="+")
    position = models.IntegerField(default=0)

    objects: Any = Manager()

    class Meta:
        ordering = ("position", "-id")


class Transaction(models.Model):
    """What a transaction wrote, committed together with it. No channel shows it."""

    name = models.CharField(max_length=40, unique=True)
    record = models.JSONField()

    objects: Any = models.Manager()
