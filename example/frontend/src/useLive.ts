import type { TypedDocumentNode } from "@graphql-typed-document-node/core";
import { print } from "graphql";
import { useEffect, useState, useSyncExternalStore } from "react";
import { type Connection, getConnection, onConnection, socket } from "./client";
import { type ChannelEvent, LiveState, type Shape } from "./live";

export interface Live<State> {
  /** Null until the first event, and when the row is gone. */
  readonly state: State | null;
  readonly status: "loading" | "live" | "gone" | "error";
  readonly error: string | null;
}

const LOADING: Live<never> = { state: null, status: "loading", error: null };

/** The live state of a channel. `key` is the identity of the variables: another key, another subscription. */
export function useLive<State, Variables extends Record<string, unknown>>(
  document: TypedDocumentNode<Record<string, unknown>, Variables>,
  variables: Variables,
  shape: Shape,
): Live<State> {
  const key = JSON.stringify(variables);
  const [live, setLive] = useState<{ key: string } & Live<State>>({ key, ...LOADING });

  useEffect(() => {
    const folded = new LiveState<State>(shape);
    let mounted = true;
    const unsubscribe = socket.subscribe<Record<string, ChannelEvent>>(
      { query: print(document), variables: JSON.parse(key) as Variables },
      {
        next({ data, errors }) {
          const event = data && Object.values(data)[0];
          if (event) setLive({ key, state: folded.fold(event), status: "live", error: null });
          else setLive({ key, ...LOADING, status: "error", error: message(errors) });
        },
        error(reason) {
          setLive({ key, ...LOADING, status: "error", error: message(reason) });
        },
        // Called when the server ends the subscription, and also when we do.
        complete() {
          if (mounted) setLive({ key, ...LOADING, status: "gone" });
        },
      },
    );
    return () => {
      mounted = false;
      unsubscribe();
    };
  }, [document, key, shape]);

  return live.key === key ? live : LOADING;
}

export function useConnection(): Connection {
  return useSyncExternalStore(onConnection, getConnection);
}

/** graphql-ws gives the errors of a document as an array, and the loss of a socket as an event. */
function message(reason: unknown): string {
  const first: unknown = Array.isArray(reason) ? reason[0] : reason;
  return typeof first === "object" && first !== null && "message" in first
    ? String(first.message)
    : "The connection was refused.";
}
