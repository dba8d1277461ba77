import { expect, test } from "vitest";
import { dayOf, initials } from "../src/format";
import type { Message } from "../src/generated/chat";
import { groups } from "../src/groups";

function message(id: string, author: string, sentAt: Date): Message {
  return {
    id,
    text: "",
    sentAt: sentAt.toISOString(),
    editedAt: null,
    author: { id: author, username: "", name: "", status: "", away: false },
    reactions: [],
  };
}

const at = (day: number, hour: number, minute: number) => new Date(2026, 4, day, hour, minute);

const shape = (messages: Message[]) =>
  groups(messages).map((group) => group.messages.map(({ id }) => id));

test("messages in one go are one group, until another author or a pause", () => {
  expect(
    shape([
      message("1", "ada", at(4, 9, 0)),
      message("2", "ada", at(4, 9, 3)),
      message("3", "grace", at(4, 9, 4)),
      message("4", "ada", at(4, 9, 5)),
      message("5", "ada", at(4, 9, 11)),
    ]),
  ).toEqual([["1", "2"], ["3"], ["4"], ["5"]]);
});

test("midnight ends a group, and each day is named once", () => {
  const found = groups([
    message("1", "ada", at(4, 23, 58)),
    message("2", "ada", at(5, 0, 1)),
    message("3", "grace", at(5, 0, 2)),
  ]);

  expect(found.map(({ day }) => day !== null)).toEqual([true, true, false]);
});

test("today and yesterday are called so", () => {
  const now = at(5, 12, 0);

  expect(dayOf(at(5, 0, 1).toISOString(), now)).toBe("Today");
  expect(dayOf(at(4, 23, 59).toISOString(), now)).toBe("Yesterday");
  expect(dayOf(at(3, 23, 59).toISOString(), now)).toContain("3");
});

test.each([
  ["Ada Lovelace", "AL"],
  ["Prince", "P"],
  ["Juan Carlos I", "JI"],
  ["", ""],
])("the initials of %j are %j", (name, expected) => {
  expect(initials(name)).toBe(expected);
});
