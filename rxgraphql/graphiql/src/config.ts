/** What the page tells the bundle, in `<script id="rxgraphql-config" type="application/json">`. */
export interface Config {
  /** Path of GraphQL, HTTP and WebSocket alike. */
  url: string;
  csrfHeader: string;
  csrfToken: string;
}

export function readConfig(document: Document): Config {
  const text = document.getElementById("rxgraphql-config")?.textContent;
  if (!text) throw new Error('The page has no <script id="rxgraphql-config">.');
  return JSON.parse(text) as Config;
}

/** The socket's address: GraphQL's own, with the page's security. */
export function websocketUrl(url: string, location: Location): string {
  const address = new URL(url, location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  return address.href;
}
