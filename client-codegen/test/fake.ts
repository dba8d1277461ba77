import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { WebSocket, WebSocketServer } from "ws";
import type { ChannelEvent } from "../src/store.js";

interface Subscribe {
  readonly id: string;
  readonly query: string;
  readonly variables: Record<string, unknown>;
}

/** Speaks graphql-transport-ws as far as the client's real graphql-ws needs it, and says only what a test lets it say. */
export class FakeServer {
  /** In order, over all connections. */
  readonly subscribed: Subscribe[] = [];
  readonly completed: string[] = [];
  /** The payload of each connection_init. */
  readonly params: unknown[] = [];
  readonly socket = WebSocket;
  connections = 0;
  pings = 0;
  private pongs = 0;
  /** It doesn't answer pings. */
  deaf = false;
  /** Closes the next connections with these codes instead of acknowledging them. */
  readonly closing: number[] = [];
  private live: { readonly socket: WebSocket; readonly id: string } | undefined;
  private readonly heard = new Set<() => void>();

  private constructor(private readonly server: WebSocketServer) {
    server.on("connection", (socket) => {
      this.connections += 1;
      socket.on("message", (data) => this.read(socket, String(data)));
      socket.on("close", () => {
        if (this.live?.socket === socket) this.live = undefined;
      });
    });
  }

  static async start(): Promise<FakeServer> {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    await once(server, "listening");
    return new FakeServer(server);
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.server.address() as AddressInfo).port}/`;
  }

  /** To the subscription that is the newest, as soon as there is one. */
  async send(
    ...events: (ChannelEvent | { data: null; errors: readonly object[] })[]
  ): Promise<void> {
    for (const event of events) {
      const payload = "data" in event ? event : { data: { chatRoom: event } };
      await this.say({ type: "next", payload });
    }
  }

  /** Resolves when the client has read all that was sent: it answers in order. */
  async settled(): Promise<void> {
    const before = this.pongs;
    for (const socket of this.server.clients) socket.send('{"type":"ping"}');
    await this.until(() => this.pongs > before);
  }

  refuse(code: string): Promise<void> {
    return this.say({ type: "error", payload: [{ message: code, extensions: { code } }] }, true);
  }

  complete(): Promise<void> {
    return this.say({ type: "complete" }, true);
  }

  close(code: number): void {
    for (const socket of this.server.clients) socket.close(code, `Closed with ${code}`);
  }

  terminate(): void {
    for (const socket of this.server.clients) socket.terminate();
  }

  /** Resolves when it holds; looked at whenever something is heard. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds())
      await new Promise<void>((resolve) => {
        const check = (): void => {
          this.heard.delete(check);
          resolve();
        };
        this.heard.add(check);
      });
  }

  async stop(): Promise<void> {
    this.terminate();
    this.server.close();
    await once(this.server, "close");
  }

  private async say(message: object, last = false): Promise<void> {
    await this.until(() => this.live !== undefined);
    const { live } = this;
    live?.socket.send(JSON.stringify({ id: live.id, ...message }));
    if (last) this.live = undefined;
  }

  private read(socket: WebSocket, text: string): void {
    const message = JSON.parse(text) as { type: string; id: string; payload: Subscribe };
    if (message.type === "connection_init") {
      this.params.push(message.payload);
      const code = this.closing.shift();
      if (code !== undefined) socket.close(code, `Closed with ${code}`);
      else socket.send('{"type":"connection_ack"}');
    } else if (message.type === "ping") {
      this.pings += 1;
      if (!this.deaf) socket.send('{"type":"pong"}');
    } else if (message.type === "pong") this.pongs += 1;
    else if (message.type === "subscribe") {
      this.subscribed.push({ ...message.payload, id: message.id });
      this.live = { socket, id: message.id };
    } else if (message.type === "complete") this.completed.push(message.id);
    for (const heard of [...this.heard]) heard();
  }
}
