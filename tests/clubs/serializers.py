from __future__ import annotations

from django.utils.translation import gettext
from rest_framework import serializers

from tests.clubs.models import Club, Person, Trophy


class FriendSerializer(serializers.ModelSerializer[Person]):
    class Meta:
        model = Person
        fields = ("id", "name")


class IdolSerializer(serializers.ModelSerializer[Person]):
    class Meta:
        model = Person
        fields = ("id", "name")


class PersonSerializer(serializers.ModelSerializer[Person]):
    friends = FriendSerializer(many=True)
    idols = IdolSerializer(many=True)

    class Meta:
        model = Person
        fields = ("id", "name", "friends", "idols")


class TrophySerializer(serializers.ModelSerializer[Trophy]):
    weekday = serializers.SerializerMethodField()
    inscription = serializers.SerializerMethodField()

    class Meta:
        model = Trophy
        fields = ("id", "name", "won", "weekday", "inscription")

    def get_weekday(self, trophy: Trophy) -> str:
        return gettext("Monday")

    def get_inscription(self, trophy: Trophy) -> str:
        if trophy.name == "broken":
            raise RuntimeError("the engraver slipped")
        return f"For {trophy.name}"


class ClubSerializer(serializers.ModelSerializer[Club]):
    people = PersonSerializer(many=True)
    trophies = TrophySerializer(many=True)

    class Meta:
        model = Club
        fields = ("code", "name", "founder", "people", "trophies")
