import type { TypedDocumentNode } from "@graphql-typed-document-node/core";
import { GraphQLError, print } from "graphql";
import { createClient } from "graphql-ws";
import { websocketUrl } from "./generated";

/** How the socket fares: not open yet, open, or lost and on its way back. */
export type Connection = "connecting" | "live" | "reconnecting";

let connection: Connection = "connecting";
const listeners = new Set<() => void>();

function set(next: Connection): void {
  connection = next;
  for (const listener of listeners) listener();
}

export function getConnection(): Connection {
  return connection;
}

export function onConnection(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

const pause = (milliseconds: number) => new Promise<void>((done) => setTimeout(done, milliseconds));

export const socket = createClient({
  url: websocketUrl,
  keepAlive: 12_000,
  // A chat waits for its server as long as it takes, and not all browsers come back in the same second.
  shouldRetry: () => true,
  retryAttempts: Infinity,
  retryWait: (retries) => pause(Math.min(250 * 2 ** retries, 4000) * (0.5 + Math.random())),
  on: {
    connected: () => set("live"),
    closed: () => set(connection === "live" ? "reconnecting" : connection),
  },
});

interface Answer<Data> {
  data?: Data | null;
  errors?: { message: string; extensions?: Record<string, unknown> }[];
}

/** A query or mutation over HTTP. Rejects with what the server says is wrong. */
export async function request<Data, Variables>(
  document: TypedDocumentNode<Data, Variables>,
  variables: Variables,
): Promise<Data> {
  const response = await fetch("/graphql/", {
    method: "POST",
    headers: { "content-type": "application/json", "x-csrftoken": csrfToken() },
    body: JSON.stringify({ query: print(document), variables }),
  });
  const answer = (await response.json()) as Answer<Data>;
  const error = answer.errors?.[0];
  if (error) throw new GraphQLError(error.message, { extensions: error.extensions ?? null });
  if (!answer.data) throw new Error(`The server answered with ${response.status}.`);
  return answer.data;
}

export function csrfToken(): string {
  return /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie)?.[1] ?? "";
}
