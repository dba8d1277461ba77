import { type MouseEvent, useSyncExternalStore } from "react";

const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  window.addEventListener("popstate", listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener("popstate", listener);
  };
}

/** The room that the address names: `/rooms/lobby/`. */
export function useRoomName(): string | null {
  const path = useSyncExternalStore(subscribe, () => window.location.pathname);
  return /^\/rooms\/([\w-]+)\/$/.exec(path)?.[1] ?? null;
}

export function roomPath(name: string): string {
  return `/rooms/${name}/`;
}

export function navigate(path: string): void {
  window.history.pushState(null, "", path);
  for (const listener of listeners) listener();
}

/** Lets a link change the page without loading it, unless a new tab is asked for. */
export function follow(event: MouseEvent<HTMLAnchorElement>): void {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  navigate(event.currentTarget.pathname);
}
