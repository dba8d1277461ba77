"""A model with a column of every kind, and rows around it that its serializer fields reach."""

from __future__ import annotations

import datetime
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.db import models


class Company(models.Model):
    name = models.CharField(max_length=100)
    founded = models.DateField(null=True)


class Person(models.Model):
    name = models.CharField(max_length=100)
    handle = models.SlugField(unique=True)
    company = models.ForeignKey(Company, null=True, on_delete=models.SET_NULL)

    def __str__(self) -> str:
        return f"<{self.name}>"

    def shout(self) -> str:
        return self.name.upper()


class Tag(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    label = models.CharField(max_length=100)


class Mood(models.TextChoices):
    CALM = "calm", "Calm"
    ANGRY = "angry", "Angry"


class Priority(models.IntegerChoices):
    LOW = 1, "Low"
    HIGH = 2, "High"


class Record(models.Model):
    big = models.BigIntegerField(default=0)
    boolean = models.BooleanField(default=False)
    char = models.CharField(max_length=500, blank=True)
    date = models.DateField(default=datetime.date(2020, 1, 2))
    moment = models.DateTimeField(default=datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC))
    decimal = models.DecimalField(max_digits=12, decimal_places=3, default=Decimal(0))
    duration = models.DurationField(default=datetime.timedelta)
    email = models.EmailField(blank=True)
    file = models.FileField(upload_to="files", blank=True)
    float = models.FloatField(default=0)
    integer = models.IntegerField(default=0)
    ip = models.GenericIPAddressField(null=True)
    json = models.JSONField(default=dict)
    mood = models.CharField(max_length=10, choices=Mood, default=Mood.CALM)
    mood_or_blank = models.CharField(max_length=10, choices=Mood, blank=True)
    natural = models.PositiveIntegerField(default=0)
    path = models.FilePathField(path=str(Path(__file__).parent), blank=True)
    priority = models.IntegerField(choices=Priority, default=Priority.LOW)
    slug = models.SlugField(blank=True)
    small = models.SmallIntegerField(default=0)
    text = models.TextField(blank=True)
    time = models.TimeField(default=datetime.time)
    token = models.UUIDField(default=uuid.uuid4)
    url = models.URLField(blank=True)
    raw = models.BinaryField(default=bytes)

    maybe_integer = models.IntegerField(null=True)
    maybe_moment = models.DateTimeField(null=True)
    maybe_decimal = models.DecimalField(max_digits=6, decimal_places=2, null=True)
    maybe_text = models.TextField(null=True)
    maybe_mood = models.CharField(max_length=10, choices=Mood, null=True)

    author = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="records")
    editor = models.ForeignKey(Person, null=True, on_delete=models.SET_NULL, related_name="+")
    by_handle = models.ForeignKey(
        Person, null=True, to_field="handle", on_delete=models.SET_NULL, related_name="+"
    )
    tags = models.ManyToManyField(Tag)

    def __str__(self) -> str:
        return self.char

    @property
    def length(self) -> int:
        return len(self.char)

    @property
    def unannotated(self):  # type: ignore[no-untyped-def]
        return self.char or None

    @property
    def latest_tag(self) -> Tag | None:
        return self.tags.last()

    def moods(self) -> list[str]:
        return ["angry", "calm", "angry"]

    @property
    def mood_set(self) -> set[str]:
        return {"angry", "calm", *"xyz"}


class Profile(models.Model):
    record = models.OneToOneField(Record, primary_key=True, on_delete=models.CASCADE)
    motto = models.CharField(max_length=100)


class Note(models.Model):
    """Its instances are not what the database gave."""

    record = models.ForeignKey(Record, on_delete=models.CASCADE)
    text = models.TextField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.text = self.text.strip()
