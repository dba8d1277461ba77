import { expect, test } from "vitest";
import { websocketModule } from "../src/websocket.js";

test("a path is an address on the page's own host", () => {
  expect(websocketModule("/graphql/")).toContain('new URL("/graphql/", location.href)');
  expect(websocketModule("/graphql/")).toContain('.replace(/^http/, "ws")');
});

test.each(["ws://localhost:8000/graphql/", "wss://example.org/graphql/"])(
  "%s is taken as it is",
  (url) => {
    expect(websocketModule(url)).toContain(`websocketUrl: string = "${url}";`);
  },
);

test("an address of HTTP is that of the socket", () => {
  expect(websocketModule("https://example.org/graphql/")).toContain(
    'websocketUrl: string = "wss://example.org/graphql/";',
  );
});

test("anything else is a JavaScript expression, word for word", () => {
  const expression = 'import.meta.env.VITE_SOCKET_URL ?? "wss://example.org/"';

  expect(websocketModule(expression)).toContain(`websocketUrl: string = ${expression};`);
});
