import { expect, expectTypeOf, it } from "vitest";
import { createClient, defineChannel, type ChannelMap } from "../src/index.js";
import { useChannelState } from "../src/react.js";

const info = { name: "Day", event: "DayEvent", root: "Room", lists: { Room: "rooms" } };
const map: ChannelMap = {
  channels: {
    day: { ...info, field: "day", arguments: { name: "String!", day: "Int" } },
    today: { ...info, field: "today", arguments: {} },
  },
  types: { Room: { leaves: ["name"], edges: {} } },
};

interface Room {
  readonly id: string;
  readonly name: string;
}
interface Args {
  readonly name: string;
  readonly day?: number | undefined;
}
class DayChannel extends defineChannel<Room, Args, [name: string, day?: number | undefined]>(
  map,
  "day",
) {}
class TodayChannel extends defineChannel<Room, Record<string, never>, []>(map, "today") {}

it("A channel takes its arguments in the schema's order, then a token", () => {
  expect(new DayChannel("a", 1, "secret")).toMatchObject({
    field: "day",
    args: { name: "a", day: 1 },
    token: "secret",
  });
  expect(new DayChannel("a")).toMatchObject({ args: { name: "a" }, token: undefined });
  expect(new TodayChannel("secret")).toMatchObject({ args: {}, token: "secret" });
});

it("A channel that the schema doesn't have is told", () => {
  expect(() => defineChannel(map, "tomorrow")).toThrowError("There is no channel `tomorrow`.");
});

it("Each way to call it is typed, and a wrong argument is an error of the compiler", () => {
  const client = createClient({ url: "ws://a/" });
  expectTypeOf(client.channel(DayChannel, { name: "a" }).get().state).toEqualTypeOf<Room | null>();
  expectTypeOf(client.channel(new TodayChannel()).get().state).toEqualTypeOf<Room | null>();
  // @ts-expect-error
  client.channel(DayChannel, { nam: "a" });
  // @ts-expect-error
  void (() => new DayChannel(1));

  // never called: hooks live in components
  void function Component() {
    expectTypeOf(useChannelState(DayChannel, { name: "a" }).state).toEqualTypeOf<Room | null>();
    const name = useChannelState(DayChannel, null, { select: (room) => room.name });
    expectTypeOf(name.state).toEqualTypeOf<string | null>();
    const maybe = useChannelState(name.state === "" ? new DayChannel("a") : null);
    expectTypeOf(maybe.state).toEqualTypeOf<Room | null>();
    // @ts-expect-error
    useChannelState(DayChannel, { nam: "a" });
    // @ts-expect-error
    useChannelState(DayChannel);
  };
});
