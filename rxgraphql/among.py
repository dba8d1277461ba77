"""`column IN (keys)` as one parameter, so that one query takes as many keys as there are.

SQLite and others limit the number of parameters (999 by Django's count), and compiling ten thousand of them costs
more than the query itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django.db.models import F
from django.db.models.lookups import Lookup


class Among(Lookup):
    """A condition for `filter()`: the column is one of the keys."""

    lookup_name = "rx_among"
    prepare_rhs = False

    def __init__(self, column: str, keys: Iterable[Any]) -> None:
        super().__init__(F(column), list(keys))

    def get_prep_lookup(self) -> Any:
        return self.rhs

    def _prepared(self, connection: Any) -> list[Any]:
        field: Any = self.lhs.output_field
        while field.is_relation:
            field = field.target_field
        return [field.get_db_prep_value(key, connection, prepared=False) for key in self.rhs]

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        column, parameters = self.process_lhs(compiler, connection)
        keys = self._prepared(connection)
        return f"{column} IN ({', '.join(['%s'] * len(keys))})", [*parameters, *keys]

    def as_sqlite(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        column, parameters = self.process_lhs(compiler, connection)
        keys = json.dumps(self._prepared(connection))
        return f"{column} IN (SELECT value FROM json_each(%s))", [*parameters, keys]

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        column, parameters = self.process_lhs(compiler, connection)
        return f"{column} = ANY(%s)", [*parameters, self._prepared(connection)]
