"""A chat with every kind of relation: four levels, shared rows, links both ways, soft deletes."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.db import models


class VisibleManager(models.Manager["Message"]):
    def get_queryset(self) -> models.QuerySet[Message]:
        return super().get_queryset().filter(hidden=False)


class Team(models.Model):
    name = models.CharField(max_length=50, unique=True)


class Tag(models.Model):
    name = models.CharField(max_length=50)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return f"#{self.name}"


class Room(models.Model):
    name = models.CharField(max_length=50, unique=True)
    topic = models.TextField(blank=True)
    team = models.ForeignKey(Team, models.CASCADE, null=True, related_name="rooms")
    members = models.ManyToManyField(User, related_name="chat_rooms")
    pinned = models.ForeignKey("Message", models.SET_NULL, null=True, related_name="+")

    def __str__(self) -> str:
        return self.name


class Profile(models.Model):
    user = models.OneToOneField(User, models.CASCADE, related_name="profile")
    color = models.CharField(max_length=20, default="grey")


class Message(models.Model):
    room = models.ForeignKey(Room, models.CASCADE, related_name="messages")
    author = models.ForeignKey(User, models.CASCADE, related_name="messages")
    editor = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    text = models.TextField()
    position = models.IntegerField(default=0)
    hidden = models.BooleanField(default=False)
    created = models.DateTimeField(auto_now_add=True)
    tags = models.ManyToManyField(Tag, related_name="messages")

    objects: Any = VisibleManager()
    everything: Any = models.Manager()

    class Meta:
        ordering = ("position", "-created")


class Reaction(models.Model):
    message = models.ForeignKey(Message, models.CASCADE, related_name="reactions")
    user = models.ForeignKey(User, models.CASCADE, related_name="reactions")
    emoji = models.CharField(max_length=10)
