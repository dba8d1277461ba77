from __future__ import annotations

from typing import Any

from rest_framework import serializers

from tests.oracle.models import Board, Card, Column, Label, Note, Person

BASE = ("id", "version", "stamp")


class PersonSerializer(serializers.ModelSerializer[Person]):
    class Meta:
        model = Person
        fields = (*BASE, "name")


class LabelSerializer(serializers.ModelSerializer[Label]):
    class Meta:
        model = Label
        fields = (*BASE, "name")


class NoteSerializer(serializers.ModelSerializer[Note]):
    by = PersonSerializer()

    class Meta:
        model = Note
        fields = (*BASE, "card", "position", "by")


class CardSerializer(serializers.ModelSerializer[Card]):
    author = PersonSerializer()
    assignee = PersonSerializer()
    reviewer: serializers.SlugRelatedField[Any] = serializers.SlugRelatedField(
        slug_field="name", read_only=True
    )
    labels = LabelSerializer(many=True)
    notes = NoteSerializer(many=True)

    class Meta:
        model = Card
        fields = (
            *(*BASE, "column", "position", "hidden", "reviewer"),
            *("author", "assignee", "labels", "notes"),
        )


class ColumnSerializer(serializers.ModelSerializer[Column]):
    owner: serializers.SlugRelatedField[Any] = serializers.SlugRelatedField(
        slug_field="name", read_only=True
    )
    cards = CardSerializer(many=True)

    class Meta:
        model = Column
        fields = (*BASE, "board", "position", "owner", "cards")


class BoardSerializer(serializers.ModelSerializer[Board]):
    members = PersonSerializer(many=True)
    pinned = CardSerializer()
    columns = ColumnSerializer(many=True)

    class Meta:
        model = Board
        fields = (*BASE, "members", "pinned", "columns")
