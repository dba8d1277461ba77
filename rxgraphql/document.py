"""Documents as clients send them: parsed and validated once, and refused when they ask for too much.

The limits hold before validation, whose cost grows faster than the document.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSyntaxError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    TokenKind,
    parse,
    specified_rules,
)
from graphql.validation import OverlappingFieldsCanBeMergedRule, ValidationContext
from graphql.validation.rules.overlapping_fields_can_be_merged import MAX_FIELD_COMPARISONS
from strawberry.schema.schema import validate_document

from rxgraphql.conf import settings
from rxgraphql.errors import ErrorCode
from rxgraphql.execution import with_code

if TYPE_CHECKING:
    from graphql import GraphQLSchema

# Comparisons of fields that validation may make: some 50 ms. graphql-core allows 250,000, a second for 5 KB.
MAX_COMPARISONS = 10_000


class FewComparisonsRule(OverlappingFieldsCanBeMergedRule):
    """The rule whose cost grows with the square of a document's repetitions, with a smaller budget."""

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self.compared_fields_and_fragment_pairs.comparisons = (
            MAX_FIELD_COMPARISONS - MAX_COMPARISONS
        )


DEFAULT_RULES = tuple(specified_rules)
RULES = tuple(
    FewComparisonsRule if rule is OverlappingFieldsCanBeMergedRule else rule
    for rule in DEFAULT_RULES
)
TOO_MANY_COMPARISONS = "Query is too complex to validate for overlapping fields"

# The cache's bounds: documents, and characters of all of them. A parsed document takes some 50 times its text.
MAX_DOCUMENTS = 1000
MAX_CHARACTERS = 500_000


@dataclass(frozen=True, slots=True)
class Size:
    """What a document asks for, each fragment counted as often as it is spread."""

    depth: int = 0
    fields: int = 0
    aliases: int = 0

    def beneath(self, aliased: bool) -> Size:
        return Size(self.depth + 1, self.fields + 1, self.aliases + aliased)

    def beside(self, other: Size) -> Size:
        return Size(
            max(self.depth, other.depth), self.fields + other.fields, self.aliases + other.aliases
        )


@dataclass(slots=True)
class LoadedDocument:
    """A parsed document, or the errors for which it is refused."""

    document: DocumentNode | None
    tokens: int = 0
    size: Size = field(default_factory=Size)
    errors: list[GraphQLError] = field(default_factory=list)

    def refusal(self) -> GraphQLError | None:
        for name, what, count, limit in (
            ("RX_MAX_TOKENS", "tokens", self.tokens, settings.RX_MAX_TOKENS),
            ("RX_MAX_DEPTH", "levels", self.size.depth, settings.RX_MAX_DEPTH),
            ("RX_MAX_ALIASES", "aliases", self.size.aliases, settings.RX_MAX_ALIASES),
            ("RX_MAX_TOKENS", "fields", self.size.fields, settings.RX_MAX_TOKENS),
        ):
            if count > limit:
                return _exceeded(f"The document has more than {limit} {what} ({name}).")
        return None


class Documents:
    """The documents of one schema, the least recently used forgotten first. Only valid ones are kept."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self._kept: OrderedDict[str, LoadedDocument] = OrderedDict()
        self._characters = 0
        self._lock = Lock()

    def load(self, source: str) -> LoadedDocument:
        with self._lock:
            known = self._kept.get(source)
            if known is not None:
                self._kept.move_to_end(source)
        if known is None:
            known = self._read(source)
        if not known.errors and (refusal := known.refusal()):
            return LoadedDocument(None, errors=[refusal])
        return known

    def __len__(self) -> int:
        return len(self._kept)

    def _read(self, source: str) -> LoadedDocument:
        try:
            loaded = _parsed(source)
            if loaded.document is None or loaded.refusal() is not None:
                return loaded
            errors = validate_document(self._schema, loaded.document, RULES)
        except RecursionError:
            return LoadedDocument(None, errors=[_exceeded("The document nests too deeply.")])
        if any(error.message.startswith(TOO_MANY_COMPARISONS) for error in errors):
            return LoadedDocument(
                None, errors=[_exceeded("The document selects the same fields too often.")]
            )
        if errors:
            loaded.errors = with_code(errors, ErrorCode.GRAPHQL_VALIDATION_FAILED)
        else:
            self._keep(source, loaded)
        return loaded

    def _keep(self, source: str, loaded: LoadedDocument) -> None:
        with self._lock:
            if source not in self._kept:
                self._characters += len(source)
            self._kept[source] = loaded
            while len(self._kept) > MAX_DOCUMENTS or self._characters > MAX_CHARACTERS:
                forgotten, _ = self._kept.popitem(last=False)
                self._characters -= len(forgotten)


def _parsed(source: str) -> LoadedDocument:
    limit: int = settings.RX_MAX_TOKENS
    try:
        document = parse(source, max_tokens=limit)
    except GraphQLSyntaxError as error:
        # The parser has no error of its own for this.
        if "tokens. Parsing aborted" in error.message:
            return LoadedDocument(
                None,
                errors=[_exceeded(f"The document has more than {limit} tokens (RX_MAX_TOKENS).")],
            )
        return LoadedDocument(None, errors=with_code([error], ErrorCode.GRAPHQL_PARSE_FAILED))
    return LoadedDocument(document, _count_tokens(document), Measure(document).size())


def _count_tokens(document: DocumentNode) -> int:
    count = 0
    token: Any = document.loc.start_token if document.loc else None
    while token is not None:
        count += token.kind not in (TokenKind.SOF, TokenKind.EOF, TokenKind.COMMENT)
        token = token.next
    return count


class Measure:
    """Measures a document. Of introspection only the aliases count: its depth has a validation rule of its own."""

    def __init__(self, document: DocumentNode) -> None:
        self._document = document
        self._fragments = {
            definition.name.value: definition
            for definition in document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        # a fragment that spreads itself is refused by validation: here it only must not be followed
        self._measured: dict[str, Size] = {}

    def size(self) -> Size:
        total = Size()
        for definition in self._document.definitions:
            if isinstance(definition, OperationDefinitionNode):
                total = total.beside(self._selection_set(definition.selection_set))
        return total

    def _selection_set(self, selection_set: SelectionSetNode | None) -> Size:
        total = Size()
        for selection in selection_set.selections if selection_set else ():
            if isinstance(selection, FieldNode):
                below = self._selection_set(selection.selection_set)
                if not selection.name.value.startswith("__"):
                    total = total.beside(below.beneath(selection.alias is not None))
                elif selection.selection_set is not None:
                    # each alias of __schema is the whole schema once more
                    aliases = below.aliases + (selection.alias is not None)
                    total = total.beside(Size(aliases=aliases))
            elif isinstance(selection, InlineFragmentNode):
                total = total.beside(self._selection_set(selection.selection_set))
            elif isinstance(selection, FragmentSpreadNode):
                total = total.beside(self._fragment(selection.name.value))
        return total

    def _fragment(self, name: str) -> Size:
        if name not in self._measured:
            self._measured[name] = Size()
            fragment = self._fragments.get(name)
            if fragment is not None:
                self._measured[name] = self._selection_set(fragment.selection_set)
        return self._measured[name]


def _exceeded(message: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": ErrorCode.LIMIT_EXCEEDED.value})
