"""Shelves of books, the rows that bulk operations and raw SQL change."""

from __future__ import annotations

from tests.shelves.models import Book, Genre, Shelf, Shelving


class Shop:
    """Two shelves; three books on the first, one in the second, one that was sold; two genres."""

    def __init__(self) -> None:
        self.shelf = Shelf.objects.create(id="a", name="First")
        self.other = Shelf.objects.create(id="b", name="Second")
        self.one, self.two, self.three = (
            Book.everything.create(shelf=self.shelf, title=title, position=position)
            for position, title in enumerate(("one", "two", "three"))
        )
        self.far = Book.everything.create(shelf=self.other, title="far")
        self.lost = Book.everything.create(shelf=None, title="lost")
        self.sold = Book.everything.create(shelf=self.shelf, title="gone", sold=True)
        self.novel, self.essay = (Genre.objects.create(name=name) for name in ("novel", "essay"))
        self.shelving = Shelving.objects.create(book=self.one, genre=self.novel)


def books(*found: Book) -> set[str]:
    """Their keys, as in an entry."""
    return {f"shelves.book:{book.pk}" for book in found}
