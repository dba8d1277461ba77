/** Schemas as `manage.py makefrontend` writes them. */

const EVENTS = `
directive @rxgraphql(app: String!) on FIELD_DEFINITION
interface ChannelEvent { cursor: String!, kind: ChannelEventKind!, lists: [ListChange!]!, removed: [ID!]! }
enum ChannelEventKind { CHANGE SNAPSHOT }
type ListChange { field: String!, index: Int!, inserted: [ID!]!, node: ID!, removed: [ID!]! }
`;
const COMMON = "cursor: String!, kind: ChannelEventKind!, lists: [ListChange!]!, removed: [ID!]!";

export const CHAT = `${EVENTS}
scalar DateTime

type ChatRoom { id: ID!, messages: [Message!]!, name: String! }
"What was said"
type Message {
  id: ID!
  author: User
  editedAt: DateTime
  kind: MessageKind
  replies: [Message!]!
  tags: [String!]
  "In Markdown.  */  or plain."
  text: String!
}
enum MessageKind { NOTE ACTION }
type User { id: ID!, away: Boolean!, name: String! }
type Receipt { total: Int! }
type ChatRoomEvent implements ChannelEvent {
  ${COMMON}, state: ChatRoom, chatRooms: [ChatRoom!]!, messages: [Message!]!, users: [User!]!
}
type ProfileEvent implements ChannelEvent { ${COMMON}, state: User, users: [User!]! }
type Subscription {
  "A room, for its members."
  chatRoom(name: String!, after: String): ChatRoomEvent! @rxgraphql(app: "chat")
  profile(id: ID!, after: String): ProfileEvent! @rxgraphql(app: "people")
  ticks: Int!
}
type Query { chatRoom(name: String!): ChatRoom, receipt: Receipt }
`;

/** Names that clash with generated ones, with words of TypeScript, and with each other under other types. */
export const AWKWARD = `${EVENTS}
scalar BigInt
scalar JSON
scalar Colour

input Box { from: Float!, to: Float! = 1.5, inner: Box, kinds: [ListingState!] }

type Listing {
  id: ID!
  class: String
  constructor: JSON
  first: string!
  kind: String!
  lists: [class!]!
  name: ListingState!
  query: BigInt
  state: ListingState
  states: [ListingState]
}
enum ListingState { OPEN true_ SOLD }
type string { id: ID!, name: String, first: Int, kind: BigInt, state: Boolean!, listing: Listing, colour: Colour }
type class { id: ID!, name: [String!]!, kind: ListingState, parent: class, children: [class!]!, owner: string! }
type ListingChannel { id: ID!, after: String }
type ListingEvent implements ChannelEvent {
  ${COMMON}, state: Listing, listings: [Listing!]!, strings: [string!]!, classs: [class!]!
}
type graphqlEvent implements ChannelEvent { ${COMMON}, state: class, classs: [class!]!, strings: [string!]!, states: [Listing!]! }
type ListingChannelEvent implements ChannelEvent { ${COMMON}, state: ListingChannel, listingChannels: [ListingChannel!]! }
type Subscription {
  listing(zone: String!, kinds: [ListingState!], filter: Box!, area: Int! = 3, after: String): ListingEvent! @rxgraphql(app: "graphql")
  graphql(id: ID!, after: String): graphqlEvent!
  listingChannel(after: String): ListingChannelEvent! @rxgraphql(app: "listings")
}
type Query { listing(zone: String!): Listing }
`;
