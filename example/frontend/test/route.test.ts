import { expect, test } from "vitest";
import { type Route, pathOf, routeOf } from "../src/useRoute";

test.each<[string, Route]>([
  ["/", { page: "hook", room: null }],
  ["/rooms/lobby/", { page: "hook", room: "lobby" }],
  ["/apollo/", { page: "apollo", room: null }],
  ["/apollo/rooms/lobby/", { page: "apollo", room: "lobby" }],
  ["/urql/rooms/two-words_1/", { page: "urql", room: "two-words_1" }],
])("%s is a page and a room, and back", (path, route) => {
  expect(routeOf(path)).toEqual(route);
  expect(pathOf(route)).toBe(path);
});

test("another address is the hook's page without a room", () => {
  expect(routeOf("/relay/rooms/lobby/")).toEqual({ page: "hook", room: null });
});
