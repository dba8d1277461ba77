import type { Page } from "playwright-core";

/** A part of React's own record of what it rendered. */
interface Fiber {
  readonly return: Fiber | null;
  readonly child: Fiber | null;
  readonly sibling: Fiber | null;
  readonly flags: number;
  readonly stateNode: unknown;
}

declare global {
  interface Window {
    rendered: string[];
  }
}

/** Collects the text of every message that React renders, as React's developer tools would; before the page is loaded. */
export async function watchRenders(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const PERFORMED_WORK = 1;
    const last = new WeakMap<Element, Fiber>();
    window.rendered = [];
    const visit = (fiber: Fiber | null): void => {
      for (; fiber; fiber = fiber.sibling) {
        const { stateNode: element, return: component } = fiber;
        if (element instanceof Element && element.matches("article.message") && component) {
          // a row that was left alone is the same fiber as before, and one that was only looked at did no work
          if (last.get(element) !== component && component.flags & PERFORMED_WORK)
            window.rendered.push(element.querySelector(".text")?.textContent ?? "");
          last.set(element, component);
        }
        visit(fiber.child);
      }
    };
    const hook = {
      supportsFiber: true,
      renderers: new Map(),
      inject: () => 1,
      onCommitFiberRoot: (_: number, root: { current: Fiber }) => visit(root.current),
      onCommitFiberUnmount: () => undefined,
      onPostCommitFiberRoot: () => undefined,
    };
    Object.assign(window, { __REACT_DEVTOOLS_GLOBAL_HOOK__: hook });
  });
}

/** The texts of the messages that are rendered while it acts. */
export async function rendersOf(page: Page, act: () => Promise<void>): Promise<Set<string>> {
  await page.evaluate(() => void (window.rendered = []));
  await act();
  return new Set(await page.evaluate(() => window.rendered));
}
