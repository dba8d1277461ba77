/* eslint-disable */
/** The socket's address, on the host that the page came from. */
export const websocketUrl: string = new URL("/graphql/", location.href).href.replace(/^http/, "ws");
