/**
 * What `RX_WEBSOCKET_URL` means: a setting that starts with `ws:`, `wss:`, `http:` or `https:` is an address, one that starts
 * with `/` a path on the page's own host; anything else is a JavaScript expression, such as `import.meta.env.VITE_SOCKET_URL`.
 */
export function urlExpression(setting: string): string {
  const isAddress = /^((ws|http)s?:|\/)/.test(setting);
  return isAddress ? JSON.stringify(setting.replace(/^http/, "ws")) : setting;
}

/** The module that exports `websocketUrl`. */
export function websocketModule(setting: string): string {
  const value = urlExpression(setting);
  if (!setting.startsWith("/")) {
    return `/** The socket's address. */\nexport const websocketUrl: string = ${value};\n`;
  }
  return [
    "/** The socket's address, on the host that the page came from; a server that renders the page connects nowhere. */",
    "export const websocketUrl: string =",
    `  typeof location === "undefined" ? ${value} : new URL(${value}, location.href).href.replace(/^http/, "ws");`,
    "",
  ].join("\n");
}
