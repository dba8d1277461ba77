"""Keys that are not numbers, links of every kind, proxies and inherited tables: what marks have to get right."""

from __future__ import annotations

import uuid

from django.db import models


class Person(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=50)
    friends = models.ManyToManyField("self")
    idols = models.ManyToManyField("self", symmetrical=False, related_name="fans")


class Club(models.Model):
    code = models.CharField(max_length=20, primary_key=True)
    name = models.CharField(max_length=50, blank=True)
    people = models.ManyToManyField(Person, through="Membership", related_name="clubs")
    founder = models.ForeignKey(Person, models.SET_NULL, null=True, related_name="+")


class Membership(models.Model):
    club = models.ForeignKey(Club, models.CASCADE)
    person = models.ForeignKey(Person, models.CASCADE)
    role = models.CharField(max_length=20, default="member")

    class Meta:
        constraints = [models.UniqueConstraint(fields=("club", "person"), name="one_membership")]


class FamousClub(Club):
    """The same table by another name."""

    class Meta:
        proxy = True


class PaidClub(Club):
    """A table of its own beside the club's."""

    fee = models.IntegerField(default=1)


class Trophy(models.Model):
    club = models.ForeignKey(Club, models.CASCADE, related_name="trophies")
    name = models.CharField(max_length=50)
    won = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-id",)
