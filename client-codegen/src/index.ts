export type { TypedDocumentNode } from "@graphql-typed-document-node/core";
export { defineChannel, type Channel, type ChannelClass } from "./channel.js";
export {
  createClient,
  type Client,
  type ClientOptions,
  type Live,
  type StateOf,
  type TypedDocument,
} from "./client.js";
export type { ConnectionParams } from "./connection.js";
export { ChannelError } from "./failure.js";
export { everything, flatten, FlattenError, type Flat, type Variables } from "./flatten.js";
export type { ChannelInfo, ChannelMap, EdgeInfo, NodeTypeInfo } from "./map.js";
export type { SelectedEdge, SelectedField, Selection } from "./selection.js";
export type { StaleNode } from "./stale.js";
export { Store, type ChannelEvent, type ListChange } from "./store.js";
export type { ChannelState, Status } from "./subscription.js";
