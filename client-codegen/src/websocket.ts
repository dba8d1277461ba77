/**
 * The module that exports `websocketUrl`. A setting that starts with `ws:` or `wss:` is an address, one that starts with
 * `/` a path on the page's own host; anything else is a JavaScript expression, such as `import.meta.env.VITE_SOCKET_URL`.
 */
export function websocketModule(setting: string): string {
  const text = JSON.stringify(setting);
  if (setting.startsWith("/")) {
    return [
      "/** The socket's address, on the host that the page came from. */",
      `export const websocketUrl: string = new URL(${text}, location.href).href.replace(/^http/, "ws");`,
      "",
    ].join("\n");
  }
  const value = /^wss?:/.test(setting) ? text : setting;
  return `/** The socket's address. */\nexport const websocketUrl: string = ${value};\n`;
}
