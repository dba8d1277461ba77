from __future__ import annotations

from rest_framework import serializers

from tests.shelves.models import Book, Genre, Shelf


class GenreSerializer(serializers.ModelSerializer[Genre]):
    class Meta:
        model = Genre
        fields = ("id", "name")


class BookSerializer(serializers.ModelSerializer[Book]):
    genres = GenreSerializer(many=True)

    class Meta:
        model = Book
        fields = ("id", "title", "position", "genres")


class ShelfSerializer(serializers.ModelSerializer[Shelf]):
    books = BookSerializer(many=True)

    class Meta:
        model = Shelf
        fields = ("id", "name", "books")
