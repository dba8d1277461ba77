from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone


class User(AbstractUser):
    name = models.CharField(max_length=80, help_text="As others see it.")
    status = models.CharField(max_length=80, blank=True, help_text="What they are up to.")
    away = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.name or self.username


class ChatRoom(models.Model):
    name = models.SlugField(unique=True)
    topic = models.CharField(max_length=200, blank=True)
    members = models.ManyToManyField(User, related_name="rooms", blank=True)

    def __str__(self) -> str:
        return f"#{self.name}"


class VisibleMessages(models.Manager["Message"]):
    def get_queryset(self) -> models.QuerySet["Message"]:
        return super().get_queryset().filter(hidden=False)


class Message(models.Model):
    room = models.ForeignKey(ChatRoom, models.CASCADE, related_name="messages")
    author = models.ForeignKey(User, models.CASCADE, related_name="messages")
    text = models.TextField(max_length=4000)
    sent_at = models.DateTimeField(default=timezone.now)
    edited_at = models.DateTimeField(null=True, blank=True)
    hidden = models.BooleanField(default=False, help_text="Kept, but shown to nobody.")

    # The first manager is the default one: `room.messages`, and so the stream, leaves hidden messages out.
    objects = VisibleMessages()
    with_hidden = models.Manager()

    class Meta:
        ordering = ["sent_at", "pk"]

    def __str__(self) -> str:
        return self.text if len(self.text) <= 60 else f"{self.text[:59]}…"


class Reaction(models.Model):
    message = models.ForeignKey(Message, models.CASCADE, related_name="reactions")
    user = models.ForeignKey(User, models.CASCADE, related_name="reactions")
    emoji = models.CharField(max_length=16)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["message", "user", "emoji"], name="one_of_a_kind_per_user"
            )
        ]

    def __str__(self) -> str:
        return f"{self.emoji} {self.user}"
