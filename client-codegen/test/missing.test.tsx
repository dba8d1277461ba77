import type { TypedDocumentNode } from "@graphql-typed-document-node/core";
import { parse } from "graphql";
import { renderToString } from "react-dom/server";
import { expect, it } from "vitest";
import { createClient } from "../src/client.js";
import { RxProvider, useChannelState } from "../src/react.js";
import { ChatRoomChannel } from "./chat.js";

type Document = TypedDocumentNode<{ chatRoom: { state: { name: string } | null } }, object>;

function Name({ document }: { document: Document }) {
  return useChannelState(document, { name: "lobby" }).state?.name;
}

it("says of a document without a provider what it needs", () => {
  const document: Document = parse(`subscription { chatRoom(name: "lobby") { state { name } } }`);
  const render = () => renderToString(<Name document={document} />);
  expect(render).toThrowError("put <RxProvider client={createClient({ url, channelMap })}> around");
});

it("says of a document that wasn't generated yet what to run, with a provider and without", () => {
  // what the generated graphql() gives for it
  const unknown = {} as Document;
  const client = createClient({ url: "ws://127.0.0.1:9/", channelMap: ChatRoomChannel.map });
  const alone = () => renderToString(<Name document={unknown} />);
  const provided = () =>
    renderToString(
      <RxProvider client={client}>
        <Name document={unknown} />
      </RxProvider>,
    );
  expect(alone).toThrowError("Run manage.py makefrontend");
  expect(provided).toThrowError("Run manage.py makefrontend");
});
