/* eslint-disable */
import * as types from './graphql';
import type { TypedDocumentNode as DocumentNode } from '@rxgraphql/client';

/**
 * Map of all GraphQL operations in the project.
 *
 * This map has several performance disadvantages:
 * 1. It is not tree-shakeable, so it will include all operations in the project.
 * 2. It is not minifiable, so the string of a GraphQL query will be multiple times inside the bundle.
 * 3. It does not support dead code elimination, so it will add unused operations.
 *
 * Therefore it is highly recommended to use the babel or swc plugin for production.
 * Learn more about it here: https://the-guild.dev/graphql/codegen/plugins/presets/preset-client#reducing-bundle-size
 */
type Documents = {
    "\n  query Me {\n    me {\n      id\n    }\n  }\n": typeof types.MeDocument,
    "\n  mutation SendMessage($room: String!, $text: String!) {\n    sendMessage(room: $room, text: $text) {\n      id\n    }\n  }\n": typeof types.SendMessageDocument,
    "\n  mutation EditMessage($message: ID!, $text: String!) {\n    editMessage(message: $message, text: $text) {\n      __typename\n      id\n      text\n      editedAt\n    }\n  }\n": typeof types.EditMessageDocument,
    "\n  mutation DeleteMessage($message: ID!) {\n    deleteMessage(message: $message)\n  }\n": typeof types.DeleteMessageDocument,
    "\n  mutation ToggleReaction($message: ID!, $emoji: String!) {\n    toggleReaction(message: $message, emoji: $emoji) {\n      id\n    }\n  }\n": typeof types.ToggleReactionDocument,
    "\n  mutation SetAway($away: Boolean!) {\n    setAway(away: $away) {\n      id\n      away\n    }\n  }\n": typeof types.SetAwayDocument,
    "\n  subscription Profile($id: ID!) {\n    profile(id: $id) {\n      state {\n        id\n        username\n        name\n        status\n        away\n        isStaff\n        rooms {\n          id\n          name\n          topic\n        }\n      }\n    }\n  }\n": typeof types.ProfileDocument,
    "\n  subscription Room($name: String!) {\n    chatRoom(name: $name) {\n      state {\n        id\n        name\n        topic\n        members {\n          ...UserFields\n        }\n        messages {\n          ...MessageFields\n        }\n      }\n    }\n  }\n": typeof types.RoomDocument,
    "\n  query Members($name: String!) {\n    chatRoom(name: $name) {\n      id\n      members {\n        ...UserFields\n      }\n    }\n  }\n": typeof types.MembersDocument,
    "\n  fragment MessageFields on Message {\n    id\n    text\n    sentAt\n    editedAt\n    author {\n      ...UserFields\n    }\n    reactions {\n      id\n      emoji\n      user {\n        ...UserFields\n      }\n    }\n  }\n": typeof types.MessageFieldsFragmentDoc,
    "\n  fragment UserFields on User {\n    id\n    username\n    name\n    status\n    away\n  }\n": typeof types.UserFieldsFragmentDoc,
};
const documents: Documents = {
    "\n  query Me {\n    me {\n      id\n    }\n  }\n": types.MeDocument,
    "\n  mutation SendMessage($room: String!, $text: String!) {\n    sendMessage(room: $room, text: $text) {\n      id\n    }\n  }\n": types.SendMessageDocument,
    "\n  mutation EditMessage($message: ID!, $text: String!) {\n    editMessage(message: $message, text: $text) {\n      __typename\n      id\n      text\n      editedAt\n    }\n  }\n": types.EditMessageDocument,
    "\n  mutation DeleteMessage($message: ID!) {\n    deleteMessage(message: $message)\n  }\n": types.DeleteMessageDocument,
    "\n  mutation ToggleReaction($message: ID!, $emoji: String!) {\n    toggleReaction(message: $message, emoji: $emoji) {\n      id\n    }\n  }\n": types.ToggleReactionDocument,
    "\n  mutation SetAway($away: Boolean!) {\n    setAway(away: $away) {\n      id\n      away\n    }\n  }\n": types.SetAwayDocument,
    "\n  subscription Profile($id: ID!) {\n    profile(id: $id) {\n      state {\n        id\n        username\n        name\n        status\n        away\n        isStaff\n        rooms {\n          id\n          name\n          topic\n        }\n      }\n    }\n  }\n": types.ProfileDocument,
    "\n  subscription Room($name: String!) {\n    chatRoom(name: $name) {\n      state {\n        id\n        name\n        topic\n        members {\n          ...UserFields\n        }\n        messages {\n          ...MessageFields\n        }\n      }\n    }\n  }\n": types.RoomDocument,
    "\n  query Members($name: String!) {\n    chatRoom(name: $name) {\n      id\n      members {\n        ...UserFields\n      }\n    }\n  }\n": types.MembersDocument,
    "\n  fragment MessageFields on Message {\n    id\n    text\n    sentAt\n    editedAt\n    author {\n      ...UserFields\n    }\n    reactions {\n      id\n      emoji\n      user {\n        ...UserFields\n      }\n    }\n  }\n": types.MessageFieldsFragmentDoc,
    "\n  fragment UserFields on User {\n    id\n    username\n    name\n    status\n    away\n  }\n": types.UserFieldsFragmentDoc,
};

/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 *
 *
 * @example
 * ```ts
 * const query = graphql(`query GetUser($id: ID!) { user(id: $id) { name } }`);
 * ```
 *
 * The query argument is unknown!
 * Please regenerate the types.
 */
export function graphql(source: string): unknown;

/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query Me {\n    me {\n      id\n    }\n  }\n"): (typeof documents)["\n  query Me {\n    me {\n      id\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation SendMessage($room: String!, $text: String!) {\n    sendMessage(room: $room, text: $text) {\n      id\n    }\n  }\n"): (typeof documents)["\n  mutation SendMessage($room: String!, $text: String!) {\n    sendMessage(room: $room, text: $text) {\n      id\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation EditMessage($message: ID!, $text: String!) {\n    editMessage(message: $message, text: $text) {\n      __typename\n      id\n      text\n      editedAt\n    }\n  }\n"): (typeof documents)["\n  mutation EditMessage($message: ID!, $text: String!) {\n    editMessage(message: $message, text: $text) {\n      __typename\n      id\n      text\n      editedAt\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation DeleteMessage($message: ID!) {\n    deleteMessage(message: $message)\n  }\n"): (typeof documents)["\n  mutation DeleteMessage($message: ID!) {\n    deleteMessage(message: $message)\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation ToggleReaction($message: ID!, $emoji: String!) {\n    toggleReaction(message: $message, emoji: $emoji) {\n      id\n    }\n  }\n"): (typeof documents)["\n  mutation ToggleReaction($message: ID!, $emoji: String!) {\n    toggleReaction(message: $message, emoji: $emoji) {\n      id\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation SetAway($away: Boolean!) {\n    setAway(away: $away) {\n      id\n      away\n    }\n  }\n"): (typeof documents)["\n  mutation SetAway($away: Boolean!) {\n    setAway(away: $away) {\n      id\n      away\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  subscription Profile($id: ID!) {\n    profile(id: $id) {\n      state {\n        id\n        username\n        name\n        status\n        away\n        isStaff\n        rooms {\n          id\n          name\n          topic\n        }\n      }\n    }\n  }\n"): (typeof documents)["\n  subscription Profile($id: ID!) {\n    profile(id: $id) {\n      state {\n        id\n        username\n        name\n        status\n        away\n        isStaff\n        rooms {\n          id\n          name\n          topic\n        }\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  subscription Room($name: String!) {\n    chatRoom(name: $name) {\n      state {\n        id\n        name\n        topic\n        members {\n          ...UserFields\n        }\n        messages {\n          ...MessageFields\n        }\n      }\n    }\n  }\n"): (typeof documents)["\n  subscription Room($name: String!) {\n    chatRoom(name: $name) {\n      state {\n        id\n        name\n        topic\n        members {\n          ...UserFields\n        }\n        messages {\n          ...MessageFields\n        }\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query Members($name: String!) {\n    chatRoom(name: $name) {\n      id\n      members {\n        ...UserFields\n      }\n    }\n  }\n"): (typeof documents)["\n  query Members($name: String!) {\n    chatRoom(name: $name) {\n      id\n      members {\n        ...UserFields\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  fragment MessageFields on Message {\n    id\n    text\n    sentAt\n    editedAt\n    author {\n      ...UserFields\n    }\n    reactions {\n      id\n      emoji\n      user {\n        ...UserFields\n      }\n    }\n  }\n"): (typeof documents)["\n  fragment MessageFields on Message {\n    id\n    text\n    sentAt\n    editedAt\n    author {\n      ...UserFields\n    }\n    reactions {\n      id\n      emoji\n      user {\n        ...UserFields\n      }\n    }\n  }\n"];
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  fragment UserFields on User {\n    id\n    username\n    name\n    status\n    away\n  }\n"): (typeof documents)["\n  fragment UserFields on User {\n    id\n    username\n    name\n    status\n    away\n  }\n"];

export function graphql(source: string) {
  return (documents as Record<string, unknown>)[source] ?? {};
}

export type DocumentType<TDocumentNode extends DocumentNode<unknown, never>> = TDocumentNode extends DocumentNode<  infer TType,  never>  ? TType  : never;