/* eslint-disable */
// Made by rxgraphql-codegen. Changes are lost: run it again instead.

/** The socket's address, on the host that the page came from; a server that renders the page connects nowhere. */
export const websocketUrl: string =
  typeof location === "undefined" ? "/graphql/" : new URL("/graphql/", location.href).href.replace(/^http/, "ws");
