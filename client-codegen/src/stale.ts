import type { ChannelInfo } from "./map.js";
import type { ChannelEvent } from "./store.js";

/** A row that the server could not compute: the state shows it as it was before, or not at all if it was never there. */
export interface StaleNode {
  /** Its GraphQL type: "Message". */
  readonly type: string;
  readonly id: string;
}

export const NONE: readonly StaleNode[] = [];

/**
 * Which rows are old after an event. A row that comes can be computed; one that can't is named in the event's errors.
 * The same array if nothing changed.
 */
export function staleAfter(
  before: readonly StaleNode[],
  event: ChannelEvent,
  errors: readonly unknown[] | undefined,
  { lists }: ChannelInfo,
): readonly StaleNode[] {
  const failed = (errors ?? []).flatMap(keyOf);
  if (before.length === 0 && failed.length === 0) return before;
  const keys = new Set(before.map(({ type, id }) => `${type}:${id}`));
  for (const key of event.removed) keys.delete(key);
  for (const [type, list] of Object.entries(lists))
    for (const { id } of (event[list] ?? []) as { id: string }[]) keys.delete(`${type}:${id}`);
  for (const key of failed) keys.add(key);
  if (keys.size === before.length && before.every(({ type, id }) => keys.has(`${type}:${id}`)))
    return before;
  return [...keys].map((key) => {
    const colon = key.indexOf(":");
    return { type: key.slice(0, colon), id: key.slice(colon + 1) };
  });
}

function keyOf(error: unknown): string[] {
  const { code, key } =
    (error as { extensions?: { code?: unknown; key?: unknown } } | null)?.extensions ?? {};
  return code === "STALE_NODE" && typeof key === "string" ? [key] : [];
}
