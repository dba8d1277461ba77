import { type MouseEvent, useSyncExternalStore } from "react";

/** The pages that show the same chat, by what they show it with. */
export const PAGES = { hook: "Hook", apollo: "Apollo", urql: "urql" } as const;

export type PageName = keyof typeof PAGES;

export interface Route {
  readonly page: PageName;
  readonly room: string | null;
}

/** `/rooms/lobby/` is the hook's, `/apollo/rooms/lobby/` and `/urql/rooms/lobby/` are the others'. */
export function routeOf(path: string): Route {
  const [, page = "hook", room = null] =
    /^(?:\/(apollo|urql))?\/(?:rooms\/([\w-]+)\/)?$/.exec(path) ?? [];
  return { page: page as PageName, room };
}

export function pathOf({ page, room }: Route): string {
  return `${page === "hook" ? "" : `/${page}`}/${room === null ? "" : `rooms/${room}/`}`;
}

const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  window.addEventListener("popstate", listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener("popstate", listener);
  };
}

export function useRoute(): Route {
  return routeOf(useSyncExternalStore(subscribe, () => window.location.pathname));
}

export function navigate(path: string, { replace = false } = {}): void {
  window.history[replace ? "replaceState" : "pushState"](null, "", path);
  for (const listener of listeners) listener();
}

/** Lets a link change the page without loading it, unless a new tab is asked for. */
export function follow(event: MouseEvent<HTMLAnchorElement>): void {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  navigate(event.currentTarget.pathname);
}
