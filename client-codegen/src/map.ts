/** What is known of a schema's channels: plain data, made by codegen from introspection alone. */

export interface EdgeInfo {
  /** The node type at the other end. */
  readonly type: string;
  readonly many: boolean;
  readonly nullable: boolean;
}

/** The fields of a node type. `id` and `__typename` are in neither. */
export interface NodeTypeInfo {
  /** Scalars, enums and lists of them, in the schema's order. */
  readonly leaves: readonly string[];
  /** Fields whose named type is a node type. */
  readonly edges: { readonly [field: string]: EdgeInfo };
}

export interface ChannelInfo {
  /** "ChatRoom" */
  readonly name: string;
  /** The field of `Subscription`: "chatRoom" */
  readonly field: string;
  /** The type of its events: "ChatRoomEvent" */
  readonly event: string;
  /** The type of `state`: "ChatRoom" */
  readonly root: string;
  /** GraphQL types by argument, in the schema's order, `after` left out: "name" -> "String!" */
  readonly arguments: { readonly [name: string]: string };
  /** The event's list by node type: "Message" -> "messages" */
  readonly lists: { readonly [type: string]: string };
}

export interface ChannelMap {
  /** Where the channels are served, so that they work without a provider: "/graphql/", "wss://example.org/graphql/". */
  readonly url?: string;
  /** By field of `Subscription`. */
  readonly channels: { readonly [field: string]: ChannelInfo };
  readonly types: { readonly [type: string]: NodeTypeInfo };
}
