// @vitest-environment happy-dom
import { afterAll, beforeAll, expect, it } from "vitest";
import { agree, http, NAMES, pages, patience, plain, type RoomOf } from "./clients.js";
import { Site } from "./site.js";

/** Rows that the project's own serializer can't compute, in the hook, Apollo and urql at once. */

const FAULT = `
from django.apps import AppConfig

class Fault(AppConfig):
    name = "fault"

    def ready(self):
        from chat.serializers import MessageSerializer

        def to_representation(self, instance):
            if "boom" in instance.text:
                raise ValueError("a fault of the serializer's")
            return super(MessageSerializer, self).to_representation(instance)

        MessageSerializer.to_representation = to_representation
`;

let site: Site;
let token: string;
beforeAll(async () => {
  site = await Site.start(`INSTALLED_APPS.insert(0, "fault.Fault")\n`, { fault: FAULT });
  token = await site.token("ada");
  await site.run(`
import logging
# what is expected
logging.getLogger("rxgraphql").setLevel(logging.CRITICAL)
lobby = ChatRoom.objects.get(name="lobby")
message = lobby.messages.last()
was = message.text

def write(text):
    message.text = text
    message.save()`);
}, 60_000);
afterAll(() => site.stop());

const each = <Value,>(all: readonly RoomOf[], take: (page: RoomOf) => Value) =>
  Object.fromEntries(all.map((page) => [page.name, take(page)])) as Record<string, Value>;
const everywhere = <Value,>(value: Value) =>
  Object.fromEntries(NAMES.map((name) => [name, value])) as Record<string, Value>;

it("Such a row stays as it was and is named, all else goes on, and it is named no more once it can be computed", async () => {
  const all = await pages(site, () => token, { retryWait: () => 300 });
  for (const { show, Room } of all) show(<Room name="lobby" />);
  await agree(site, all, "lobby");
  http.length = 0;
  const before = all[0]?.of("lobby").state;
  const id = before?.messages.at(-1)?.id;
  const are = (stale: readonly object[]) =>
    expect
      .poll(() => each(all, ({ of }) => of("lobby").stale), patience)
      .toEqual(everywhere(stale));
  await are([]);

  await site.run(`write("boom"); lobby.topic = "Goes on"; lobby.save()`);
  await are([{ type: "Message", id }]);
  const shown = { ...(plain(before) as object), topic: "Goes on" };
  await expect
    .poll(() => each(all, ({ of }) => plain(of("lobby").state)), patience)
    .toEqual(everywhere(shown));
  expect(each(all, ({ of }) => of("lobby").error)).toEqual(everywhere(undefined));
  expect(each(all, ({ of }) => of("lobby").status)).toEqual(everywhere("live"));

  // well again while they are away, and with the values that they have
  site.proxy.cut();
  await expect
    .poll(() => each(all, ({ of }) => of("lobby").status), patience)
    .toEqual(everywhere("reconnecting"));
  await site.run(`write(was)`);
  await are([]);
  await agree(site, all, "lobby");

  await site.run(`write("boom again")`);
  await are([{ type: "Message", id }]);
  await site.run(`write(was)`);
  await are([]);

  // a late one is told too; and who is deleted is old no more
  await site.run(`write("boom at last")`);
  await are([{ type: "Message", id }]);
  for (const { show, Room } of all)
    show([<Room key="1" name="lobby" />, <Room key="2" name="lobby" as="late" />]);
  await expect
    .poll(() => each(all, ({ of }) => of("lobby", "late").stale), patience)
    .toEqual(everywhere([{ type: "Message", id }]));
  await site.run(`message.delete()`);
  await are([]);
  await agree(site, all, "lobby");
  expect(http).toEqual([]);
});

it("A new one that never could be computed is left out and named, until it can", async () => {
  const all = await pages(site, () => token);
  for (const { show, Room } of all) show(<Room name="launch" />);
  await agree(site, all, "launch");
  http.length = 0;
  const before = plain(all[0]?.of("launch").state);
  const id = await site.run(`
message = Message.objects.create(
    room=ChatRoom.objects.get(name="launch"), author=User.objects.get(username="ada"), text="boom"
)
out = str(message.pk)`);
  const are = (stale: readonly object[]) =>
    expect
      .poll(() => each(all, ({ of }) => of("launch").stale), patience)
      .toEqual(everywhere(stale));
  await are([{ type: "Message", id }]);
  expect(each(all, ({ of }) => plain(of("launch").state))).toEqual(everywhere(before));
  await site.run(`write("calm")`);
  await are([]);
  await agree(site, all, "launch");
  expect(http).toEqual([]);
});
