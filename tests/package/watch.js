// A line of JSON for each state of order 1, as whoever has the cookie sees it.
import { createClient } from "@rxgraphql/client";
import WebSocket from "ws";
import { OrderChannel } from "./generated/shop";

const { COOKIE, SITE } = process.env;

class SignedIn extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols, { origin: SITE, headers: { Cookie: COOKIE } });
  }
}

const client = createClient({ url: `${SITE}/graphql/`, webSocketImpl: SignedIn });
const order = client.channel(OrderChannel, { id: "1" });
order.subscribe(() => console.log(JSON.stringify(order.get())));
