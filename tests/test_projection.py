from __future__ import annotations

from functools import cache
from typing import Any

import orjson
import pytest
from graphql import parse
from hypothesis import given, settings
from hypothesis import strategies as st

from rxgraphql.change import Change
from rxgraphql.errors import ErrorCode
from rxgraphql.projection import Payload, Projection
from rxgraphql.rows import Row
from rxgraphql.schema import Operation, Schema
from rxgraphql.tree import NodeType
from tests.chat.channels import RoomChannel
from tests.folding import nested_document
from tests.rooms import Room, node_type


@pytest.fixture(scope="module")
def schema() -> Schema:
    return Schema()


@pytest.fixture
def room() -> Room:
    return Room()


def projection(schema: Schema, selection: str, **variables: Any) -> Projection:
    flags = {"$yes": "$yes: Boolean = true", "$no": "$no: Boolean = false"}
    used = [declared for name, declared in flags.items() if name in selection]
    declared = f"({', '.join(used)})" if used else ""
    return prepared(
        schema, f'subscription {declared} {{ room(name: "a") {{ {selection} }} }}', **variables
    )


def prepared(schema: Schema, query: str, **variables: Any) -> Projection:
    operation = schema.prepare(query, variables)
    assert isinstance(operation, Operation), operation
    assert operation.projection is not None
    return operation.projection


def snapshot(projection: Projection, room: Room) -> Any:
    return projection.snapshot(room.replica, lambda: "here").data["room"]


def changed(projection: Projection, room: Room, change: Change) -> Any:
    payload = projection.change(change, room.replica, lambda: "there")
    return None if payload is None else payload.data["room"]


def by_graphql_core(schema: Schema, query: str, payload: Payload, **variables: Any) -> Any:
    """What a client of the plain path gets."""
    executor = schema.execution_context_class.build(
        schema._schema, parse(query), raw_variable_values=variables
    )
    assert not isinstance(executor, list), executor
    result: Any = executor.build_per_event_executor(payload.field).execute_operation(False)
    assert result.errors is None
    return result.data


# ---------------------------------------------------------------------------------------------- snapshots


def test_snapshot_has_all_nodes(schema: Schema, room: Room) -> None:
    """A snapshot's lists have every node of their type, in order of arrival."""
    event = snapshot(projection(schema, "kind cursor messages { id } users { id }"), room)
    assert event == {
        "kind": "SNAPSHOT",
        "cursor": "here",
        "messages": [{"id": "0"}, {"id": "1"}, {"id": "2"}, {"id": "3"}],
        "users": [{"id": "0"}, {"id": "1"}, {"id": "2"}],
    }


def test_snapshot_lists_say_what_each_list_holds(schema: Schema, room: Room) -> None:
    """In a snapshot `lists` has the whole content of each non-empty list of which the client gets the children."""
    event = snapshot(
        projection(schema, "users { id } lists { node field index removed inserted }"), room
    )
    assert event["lists"] == [
        {
            "node": "Room:1",
            "field": "members",
            "index": 0,
            "removed": [],
            "inserted": ["User:0", "User:1", "User:2"],
        }
    ]


def test_snapshot_names_and_keys_follow_the_document(schema: Schema, room: Room) -> None:
    """Aliases, their order, merged fields, fragments and __typename come out as GraphQL prescribes."""
    query = """
        subscription {
            hall: room(name: "a") {
                ...Everything
                said: messages { b: text a: id }
                messages { id }
                messages { author { id } }
            }
        }
        fragment Everything on ChannelEvent {
            what: __typename
            kind
            ... on RoomEvent { state { __typename pinned { words: text } } }
            lists { __typename at: index }
        }
    """
    payload = prepared(schema, query).snapshot(room.replica, lambda: "here")
    event = payload.data["hall"]
    assert list(event) == ["what", "kind", "state", "lists", "said", "messages"]
    assert event["what"] == "RoomEvent"
    assert event["state"] == {"__typename": "Room", "pinned": {"words": "some text"}}
    assert event["lists"][0] == {"__typename": "ListChange", "at": 0}
    assert list(event["said"][0].items()) == [("b", "some text"), ("a", "0")]
    assert event["messages"][1] == {"id": "1", "author": {"id": "1"}}
    assert by_graphql_core(schema, query, payload) == payload.data


def test_directives_leave_out(schema: Schema, room: Room) -> None:
    """What @skip and @include leave out is neither shown nor watched."""
    watching = projection(
        schema, "kind users @include(if: $no) { id } messages { id text @skip(if: $yes) }"
    )
    assert list(snapshot(watching, room)) == ["kind", "messages"]
    assert changed(watching, room, room.set("Message", "1", text="other")) is None
    assert changed(watching, room, room.set("User", "1", username="other")) is None


def test_nothing_selected_of_a_node(schema: Schema, room: Room) -> None:
    """A selection of which the directives leave nothing gives empty objects."""
    assert snapshot(projection(schema, "pinnedMessages { id @skip(if: $yes) }"), room) == {
        "pinnedMessages": [{}]
    }


# ---------------------------------------------------------------------------------------------- changes


def test_change_has_what_changed(schema: Schema, room: Room) -> None:
    """A change lists the nodes of which a selected value changed, and nothing else."""
    watching = projection(schema, "kind cursor messages { id text } users { id } removed")
    change = room.set("Message", "2", text="other")
    assert changed(watching, room, change) == {
        "kind": "CHANGE",
        "cursor": "there",
        "messages": [{"id": "2", "text": "other"}],
        "users": [],
        "removed": [],
    }


def test_untouched_selection_makes_no_event(schema: Schema, room: Room) -> None:
    """A commit that touches nothing selected is no event, whatever else of the row changed."""
    watching = projection(schema, "kind cursor messages { id text author { username } }")
    assert changed(watching, room, room.set("Message", "2", position=7)) is None
    assert changed(watching, room, room.set("User", "2", first_name="other")) is None
    assert changed(watching, room, room.set("Reaction", "2", emoji="other")) is None


def test_change_beneath_shows_the_node_above(schema: Schema, room: Room) -> None:
    """A node is in its list when anything selected beneath it changed, at any depth."""
    watching = projection(schema, "messages { id reactions { id user { username } } } rooms { id }")
    event = changed(watching, room, room.set("User", "1", username="other"))
    assert {message["id"] for message in event["messages"]} == {"0", "2", "3"}
    assert event["rooms"] == []


def test_state_is_there_when_it_changed(schema: Schema, room: Room) -> None:
    """`state` is the whole tree when something selected in it changed, and null in other events."""
    watching = projection(schema, "users { id firstName } state { name messages { text } }")
    event = changed(watching, room, room.set("User", "1", first_name="other"))
    assert event["state"] is None
    event = changed(watching, room, room.set("Message", "1", text="other"))
    assert event["users"] == []
    assert [message["text"] for message in event["state"]["messages"]].count("other") == 1


def test_removed_names_only_types_that_are_shown(schema: Schema, room: Room) -> None:
    """`removed` names what left, of the types that the document selects anywhere, also only beneath others."""
    nested = projection(schema, "messages { reactions { id } } removed")
    others = projection(schema, "users { id } removed")
    change = room.commit(("Message", "1", None))
    event = changed(nested, room, change)
    assert set(event["removed"]) == {"Message:1", "Reaction:2", "Reaction:3"}
    assert changed(others, room, change) is None


def test_lists_report_moves(schema: Schema, room: Room) -> None:
    """`lists` says what left a list and where something came in, without any id of its neighbours."""
    watching = projection(
        schema, "messages { id position } lists { node field index removed inserted }"
    )
    row = room.changed("Message", "0", {"position": 9}, {"position": 9})
    assert changed(watching, room, room.commit(("Message", "0", row))) == {
        "messages": [{"id": "0", "position": 9}],
        "lists": [
            {
                "node": "Room:1",
                "field": "messages",
                "index": 3,
                "removed": ["Message:0"],
                "inserted": ["Message:0"],
            }
        ],
    }
    assert changed(projection(schema, "users { id } lists { node }"), room, Change()) is None


def test_lists_report_what_the_client_holds(schema: Schema, room: Room) -> None:
    """A list is reported when its children are selected, at the top or nested, else not."""
    change = room.commit(("Reaction", "1", None))
    for selection, reported in (
        ("reactions { id }", True),
        ("state { messages { reactions { id } } }", True),
        ("messages { id }", False),
    ):
        event = changed(projection(schema, selection + " lists { node }"), room, change)
        assert (event is not None and event["lists"] == [{"node": "Message:0"}]) is reported


def test_added_node_is_shown_even_by_its_id_alone(schema: Schema, room: Room) -> None:
    """A new node is in its list also where the document selects nothing of it that could have changed."""
    watching = projection(schema, "pinnedMessages { __typename }")
    pinned = next(room.replica.by_type(node_type("Pinned")))
    assert changed(watching, room, Change(added={pinned}, fields={pinned: -1})) == {
        "pinnedMessages": [{"__typename": "Pinned"}]
    }


# ---------------------------------------------------------------------------------------------- payloads


def test_body_is_the_result_as_json(schema: Schema, room: Room) -> None:
    """A payload's body is the JSON of its data, encoded once."""
    payload = projection(schema, "kind messages { id created }").snapshot(
        room.replica, lambda: "here"
    )
    assert orjson.loads(payload.body) == {"data": payload.data}
    assert payload.body is payload.body


def test_failed_row_is_an_error_with_its_key(schema: Schema, room: Room) -> None:
    """A row whose serializer raised is told in `errors`, with its key and without the exception's text."""
    broken = Row(None, room.replica.nodes["Message:1"].row.hidden, True, "ValueError: secret")
    change = room.commit(("Message", "1", broken))
    watching = projection(schema, "messages { id text }")
    payload = watching.change(change, room.replica, lambda: "there")
    assert payload is not None
    (error,) = orjson.loads(payload.body)["errors"]
    assert error["extensions"] == {"code": ErrorCode.STALE_NODE, "key": "Message:1"}
    assert "secret" not in error["message"]
    assert watching.snapshot(room.replica, lambda: "here").errors == [error]
    assert projection(schema, "users { id }").change(change, room.replica, lambda: "there") is None


def test_reference_that_must_not_be_null(schema: Schema, room: Room) -> None:
    """A node whose non-null reference can't be shown is left out, as GraphQL would null what is above."""
    author = node_type("Message").edges[0]
    assert (author.name, author.nullable) == ("author", False)
    room.replica.nodes["Message:1"].children[author.index] = None
    event = snapshot(
        projection(schema, "messages { id author { id } } state { messages { id } }"), room
    )
    assert [message["id"] for message in event["messages"]] == ["0", "2", "3"]
    assert len(event["state"]["messages"]) == 4


def test_numbers_beyond_json_libraries(schema: Schema, room: Room) -> None:
    """Numbers that don't fit in 64 bits, which a JSON field may hold, are encoded all the same."""
    payload = projection(schema, "messages { id }").snapshot(room.replica, lambda: "here")
    payload.data["room"]["messages"][0]["id"] = 2**80
    assert str(2**80).encode() in payload.body


def test_equal_selections_share_a_projection(schema: Schema) -> None:
    """Documents that select the same, however they are written, have one projection and so one payload."""
    plain = projection(schema, "kind messages { id text }")
    other = prepared(
        schema,
        """
        query Other { __typename }
        subscription Watch($name: String!, $all: Boolean!) { room(name: $name) { ...On } }
        fragment On on RoomEvent { kind users @include(if: $all) { id } messages { ... { id } text } }
        """.replace("query Other { __typename }", ""),
        name="b",
        all=False,
    )
    assert other is plain
    assert projection(schema, "kind messages { text id }") is not plain


# ------------------------------------------------------------------------------------ any document, any change


@st.composite
def selections(draw: st.DrawFn, of: NodeType, depth: int) -> str:
    """A selection set of a node type; its `key` tells nodes apart."""
    chosen = ["key: id"]
    for field in of.fields:
        if draw(st.booleans()):
            alias = draw(st.sampled_from(["", f"{field.graphql_name}_: "]))
            chosen.append(alias + field.graphql_name)
    edges = [edge for edge in of.visible_edges() if depth and draw(st.booleans())]
    chosen += [f"{edge.graphql_name} {draw(selections(edge.child, depth - 1))}" for edge in edges]
    if draw(st.booleans()):
        chosen = [chosen[0], f"... on {of.name} {{ {' '.join(chosen)} }}"]
    return "{ " + " ".join(chosen) + " }"


@st.composite
def documents(draw: st.DrawFn) -> str:
    tree = RoomChannel.tree
    chosen = ["kind", "removed", "lists { node field index removed inserted }"]
    names = draw(st.lists(st.sampled_from(list(LISTS)), unique=True, max_size=4))
    chosen += [f"{name} {draw(selections(node_type(LISTS[name]), 2))}" for name in names]
    if draw(st.booleans()):
        chosen.append(f"state {draw(selections(tree.root, 3))}")
    return f'subscription {{ room(name: "a") {{ {" ".join(draw(st.permutations(chosen)))} }} }}'


LISTS = {
    "rooms": "Room",
    "users": "User",
    "messages": "Message",
    "reactions": "Reaction",
    "pinnedMessages": "Pinned",
}


@st.composite
def commits(draw: st.DrawFn, room: Room) -> Change:
    """Edits, re-orderings, other authors, moves to another room and deletions, several in one commit."""
    rows: dict[tuple[str, str], Row | None] = {}
    # sorted: the same draw must mean the same node when it is played again
    nodes = [
        node
        for _, node in sorted(room.replica.nodes.items())
        if node.type.name in ("User", "Message", "Reaction")
    ]
    for node in draw(st.lists(st.sampled_from(nodes), min_size=1, max_size=3, unique=True)):
        what = draw(st.sampled_from(["edit", "edit", "order", "author", "leave", "delete"]))
        name, at = node.type.name, (node.type.name, node.pk)
        text = draw(st.sampled_from(["x", "y"]))
        if what == "delete" and name != "User":
            rows[at] = None
        elif name == "Message" and what == "leave":
            rows[at] = room.changed(name, node.pk, {}, {"room_id": "2"})
        elif name == "Message" and what == "order":
            place = draw(st.integers(0, 9))
            rows[at] = room.changed(name, node.pk, {"position": place}, {"position": place})
        elif name == "Message" and what == "author":
            rows[at] = room.changed(name, node.pk, {}, {"author_id": draw(st.sampled_from("012"))})
        elif name == "Message":
            rows[at] = room.changed(name, node.pk, {draw(st.sampled_from(["text", "shout"])): text})
        elif name == "User":
            rows[at] = room.changed(name, node.pk, {"username": text})
        else:
            rows[at] = room.changed(name, node.pk, {"emoji": text})
    return room.commit(*((name, pk, row) for (name, pk), row in rows.items()))


def lists_of(event: Any) -> dict[tuple[str, str], list[str]]:
    return {(entry["node"], entry["field"]): entry["inserted"] for entry in event["lists"]}


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_change_is_the_difference_of_two_snapshots(data: st.DataObject) -> None:
    """For any document and any commits: nodes are listed exactly when their projection differs, lists fold to the new
    ones, what left is named, `state` comes exactly when it differs; and graphql-core gives the same from it.
    """
    schema, room = any_schema(), Room()
    query = data.draw(documents())
    watching = prepared(schema, query)
    before = snapshot(watching, room)
    for _ in range(data.draw(st.integers(1, 4))):
        held = {node.key for node in room.replica.nodes.values()}
        payload = watching.change(data.draw(commits(room)), room.replica, lambda: "there")
        whole = watching.snapshot(room.replica, lambda: "here")
        after = whole.data["room"]
        assert whole.data == by_graphql_core(schema, query, whole)
        if payload is None:
            assert after == before
            continue
        assert payload.data == by_graphql_core(schema, query, payload)
        event = payload.data["room"]
        gone = held - {node.key for node in room.replica.nodes.values()}
        shown = {name for name in LISTS if name in event}
        for name in shown:
            old = {node["key"]: node for node in before[name]}
            differing = {n["key"]: n for n in after[name] if old.get(n["key"]) != n}
            assert {node["key"]: node for node in event[name]} == differing
            assert len(event[name]) == len(differing)
            assert {key for key in gone if key.startswith(f"{LISTS[name]}:")} <= set(
                event["removed"]
            )
        assert set(event["removed"]) <= gone
        if "state" in event:
            assert event["state"] == (after["state"] if after["state"] != before["state"] else None)
        folded = {at: list(keys) for at, keys in lists_of(before).items()}
        for moved in event["lists"]:
            keys = folded.setdefault((moved["node"], moved["field"]), [])
            keys[:] = [key for key in keys if key not in moved["removed"]]
            keys[moved["index"] : moved["index"]] = moved["inserted"]
        assert {at: keys for at, keys in folded.items() if keys and at[0] not in gone} == lists_of(
            after
        )
        before = after


any_schema = cache(Schema)


def test_live_query_selects_everything(schema: Schema, room: Room) -> None:
    """A document over the whole tree gives every field of every node type at its place."""
    query = nested_document(RoomChannel)
    payload = prepared(schema, query, key="a").snapshot(room.replica, lambda: "here")
    assert by_graphql_core(schema, query, payload, key="a") == payload.data
