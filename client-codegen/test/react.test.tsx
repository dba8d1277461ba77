// @vitest-environment happy-dom
import type { TypedDocumentNode } from "@graphql-typed-document-node/core";
import { parse } from "graphql";
import { act, memo, StrictMode, version, type ReactNode } from "react";
import { renderToString } from "react-dom/server";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, expectTypeOf, it } from "vitest";
import { createClient, type Client } from "../src/client.js";
import { RxProvider, useChannelState } from "../src/react.js";
import type { ChannelState } from "../src/subscription.js";
import { channelMap, ChatRoomChannel, event, message, snapshot, user } from "./chat.js";
import type { ChatRoom, Message } from "./chat.js";
import { FakeServer } from "./fake.js";

Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });

type Named = TypedDocumentNode<
  {
    readonly chatRoom: {
      readonly __typename?: "E";
      readonly state: { readonly name: string } | null;
    };
  },
  { readonly name: string }
>;
const NAMED = parse(
  `subscription Named($name: String!) { chatRoom(name: $name) { state { name } } }`,
) as Named;

let server: FakeServer;
let client: Client;
let root: Root;
let page: HTMLElement;

beforeEach(async () => {
  server = await FakeServer.start();
  client = createClient({ url: server.url, channelMap, webSocketImpl: server.socket, linger: 200 });
  page = document.createElement("div");
  root = createRoot(page);
});
afterEach(async () => {
  await act(() => root.unmount());
  client.dispose();
  await server.stop();
});

const show = (node: ReactNode) =>
  act(() => root.render(<RxProvider client={client}>{node}</RxProvider>));

/** After all that was sent, and after the frame for which the client may wait. */
async function told(): Promise<void> {
  await server.settled();
  await new Promise((resolve) => setTimeout(resolve, 20));
}

/** Sends the event and waits until the client has told the components of it. */
async function send(...events: Parameters<FakeServer["send"]>): Promise<void> {
  await act(async () => {
    await server.send(...events);
    await told();
  });
}

const renders: string[] = [];
beforeEach(() => void renders.splice(0));

const Row = memo(function Row({ message }: { message: Message }) {
  renders.push(message.id);
  return <li>{message.text}</li>;
});

function Room({ name }: { name: string }) {
  const { state, status } = useChannelState(ChatRoomChannel, { name });
  return (
    <ul title={status}>
      {state?.messages.map((message) => (
        <Row key={message.id} message={message} />
      ))}
    </ul>
  );
}

describe("useChannelState", () => {
  it("is tried with the React that is meant", () => {
    expect(version.split(".")[0]).toBe(process.env["REACT"] ?? "19");
  });

  it("renders one row for one edited message", async () => {
    await show(<Room name="lobby" />);
    expect(page.innerHTML).toBe('<ul title="connecting"></ul>');
    await send(snapshot(100));
    expect(renders).toHaveLength(100);
    renders.splice(0);
    await send(event("CHANGE", { messages: [message(7, "edited")] }));
    expect(renders).toEqual(["7"]);
    expect(page.querySelectorAll("li")[6]?.textContent).toBe("edited");
  });

  it("subscribes once for all, also in StrictMode, and once more only for other arguments", async () => {
    await show(
      <StrictMode>
        <Room name="lobby" />
        <Room name="lobby" />
      </StrictMode>,
    );
    await send(snapshot(1));
    expect(page.querySelectorAll("li")).toHaveLength(2);
    await show(<Room name="lobby" />);
    expect(server.subscribed).toHaveLength(1);
    await show(<Room name="kernel" />);
    expect(page.innerHTML).toBe('<ul title="connecting"></ul>');
    await server.until(() => server.subscribed.length === 2);
    expect(server.subscribed[1]?.variables).toEqual({ name: "kernel", after: null });
    await server.until(() => server.completed.length === 1);
  });

  it("shows what is known at once when another page takes the subscription over", async () => {
    await show(<Room name="lobby" />);
    await send(snapshot(2));
    await show(<p>Another page</p>);
    await show(<Room name="lobby" />);
    expect(page.querySelectorAll("li")).toHaveLength(2);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(server.completed).toHaveLength(0);
  });

  it("takes a document, typed by its selection", async () => {
    const seen: ChannelState<{ readonly name: string }>[] = [];
    function Name() {
      const room = useChannelState(NAMED, { name: "lobby" });
      expectTypeOf(room).toEqualTypeOf<ChannelState<{ readonly name: string }>>();
      seen.push(room);
      return room.state?.name;
    }
    await show(<Name />);
    await send(snapshot(0));
    expect(page.textContent).toBe("lobby");
    expect(seen.at(-1)?.state).toEqual({ name: "lobby" });
  });

  it("takes an instance that is made anew in each render", async () => {
    function Topic() {
      const { state } = useChannelState(new ChatRoomChannel("lobby"));
      expectTypeOf(state).toEqualTypeOf<ChatRoom | null>();
      return state?.topic;
    }
    await show(<Topic />);
    await send(snapshot(0));
    await show(<Topic />);
    expect(page.textContent).toBe("All");
    expect(server.subscribed).toHaveLength(1);
  });

  it("asks for nothing with `skip` and with null", async () => {
    const statuses: string[] = [];
    function Nothing() {
      statuses.push(useChannelState(ChatRoomChannel, null).status);
      statuses.push(useChannelState(ChatRoomChannel, { name: "lobby" }, { skip: true }).status);
      statuses.push(useChannelState(null as ChatRoomChannel | null).status);
      return null;
    }
    await show(<Nothing />);
    expect(new Set(statuses)).toEqual(new Set(["idle"]));
    expect(server.subscribed).toHaveLength(0);
  });

  it("with `select` renders only when the part that it takes is another", async () => {
    function Topic() {
      const { state } = useChannelState(
        ChatRoomChannel,
        { name: "lobby" },
        { select: (room) => room.topic },
      );
      expectTypeOf(state).toEqualTypeOf<string | null>();
      renders.push("topic");
      return state;
    }
    await show(<Topic />);
    await send(snapshot(3));
    const before = renders.length;
    await send(event("CHANGE", { messages: [message(1, "edited")], users: [user(1, "Ada")] }));
    expect(renders).toHaveLength(before);
    await send(event("CHANGE", { chatRooms: [{ id: "1", name: "lobby", topic: "New" }] }));
    expect(page.textContent).toBe("New");
  });

  it("works without a provider where the channel map has the address", async () => {
    const map = { ...channelMap, url: server.url };
    const channel = { map, field: "chatRoom", args: { name: "lobby" }, token: undefined };
    Object.assign(globalThis, { WebSocket: server.socket });
    function Topic() {
      return useChannelState<ChatRoom, { name: string }>(channel).state?.topic;
    }
    await act(() => root.render(<Topic />));
    await send(snapshot(0));
    expect(page.textContent).toBe("All");
  });

  it("tells what is missing without provider and address", () => {
    expect(() => renderToString(<Room name="lobby" />)).toThrowError("There is no RxProvider");
  });

  it("is connecting on a server, and opens nothing", () => {
    const html = renderToString(
      <RxProvider client={client}>
        <Room name="lobby" />
      </RxProvider>,
    );
    expect(html).toBe('<ul title="connecting"></ul>');
    expect(server.connections).toBe(0);
  });

  it("shows an error with its code, until it is tried again", async () => {
    let retry = (): void => undefined;
    function Code() {
      const { error, status, retry: again } = useChannelState(ChatRoomChannel, { name: "lobby" });
      retry = again;
      return error?.code ?? status;
    }
    await show(<Code />);
    await act(async () => {
      await server.refuse("NOT_FOUND");
      await told();
    });
    expect(page.textContent).toBe("NOT_FOUND");
    await act(() => retry());
    await send(snapshot(0));
    expect(page.textContent).toBe("live");
  });
});
