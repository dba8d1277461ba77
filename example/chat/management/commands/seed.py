from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from chat.models import ChatRoom, Message, User

PASSWORD = "demo"

USERS = {
    "ada": {"name": "Ada Lovelace", "status": "Writing notes", "is_superuser": True},
    "grace": {"name": "Grace Hopper", "status": "Catching moths"},
    "linus": {"name": "Linus Torvalds", "status": "Reviewing", "away": True},
    "margaret": {"name": "Margaret Hamilton", "status": "Landing on the Moon"},
}

ROOMS = {
    "lobby": ("Everybody, about everything", ["ada", "grace", "linus", "margaret"]),
    "launch": ("Countdown to the first release", ["ada", "grace", "margaret"]),
    "kernel": ("Strong opinions, kindly put", ["ada", "linus"]),
}

# Minutes ago, author, text, reactions.
MESSAGES = {
    "lobby": [
        (1530, "grace", "Good morning! Found another moth in relay 70.", {"😂": ["ada", "linus"]}),
        (1528, "ada", "Keep it. The museum will want it one day.", {"👍": ["grace"]}),
        (1522, "linus", "Is that a bug report or a feature request?", {"😂": ["ada", "margaret"]}),
        (64, "margaret", "The guidance program is in. 11,000 pages, all of them printed.", {}),
        (63, "margaret", "I am standing next to the pile. It is taller than I am.", {"👀": ["ada", "linus"]}),
        (58, "ada", "A photo, please!", {}),
        (41, "grace", "Has anybody tried this chat in two windows yet?", {}),
        (39, "ada", "Yes. Edit a message in the admin and look here.", {"🚀": ["grace", "margaret"], "❤️": ["linus"]}),
        (12, "linus", "Works on my machine. And on yours, it seems.", {"🎉": ["ada", "grace"]}),
    ],
    "launch": [
        (190, "grace", "Checklist: serializer, channel, done. Did I forget something?", {}),
        (186, "margaret", "Priority displays. They saved us the last time.", {"👍": ["ada", "grace"]}),
        (30, "ada", "Release notes are ready for a second pair of eyes.", {"👀": ["grace"]}),
    ],
    "kernel": [
        (75, "linus", "Talk is cheap. Show me the code.", {"😂": ["ada"]}),
        (73, "ada", "It weaves algebraic patterns, just as the loom weaves flowers and leaves.", {}),
    ],
}  # fmt: skip


class Command(BaseCommand):
    help = "Fills an empty chat: users, rooms, messages. Run again, it changes nothing."

    @transaction.atomic
    def handle(self, **options: Any) -> None:
        users = {username: self.user(username, **fields) for username, fields in USERS.items()}
        now = timezone.now()
        for name, (topic, members) in ROOMS.items():
            room, created = ChatRoom.objects.get_or_create(name=name, defaults={"topic": topic})
            if not created:
                continue
            room.members.set(users[member] for member in members)
            for minutes, author, text, reactions in MESSAGES[name]:
                message = Message.objects.create(
                    room=room,
                    author=users[author],
                    text=text,
                    sent_at=now - timedelta(minutes=minutes),
                )
                for emoji, admirers in reactions.items():
                    for admirer in admirers:
                        message.reactions.create(user=users[admirer], emoji=emoji)
        self.stdout.write(
            f"Sign in as {', '.join(users)}; the password is {PASSWORD}. Ada may open the admin."
        )

    def user(self, username: str, is_superuser: bool = False, **fields: Any) -> User:
        found = User.objects.filter(username=username).first()
        if found is not None:
            return found
        create = User.objects.create_superuser if is_superuser else User.objects.create_user
        return create(username, f"{username}@example.org", PASSWORD, **fields)
