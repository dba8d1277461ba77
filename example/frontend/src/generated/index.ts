/* eslint-disable */
// Made by rxgraphql-codegen. Changes are lost: run it again instead.

export * from "./gql";
export * from "./graphql";
export * from "./websocket";
export * from "./channel-map";
export {
  ChatRoomChannel,
  type ChatRoomState,
  ProfileChannel,
  type ProfileState,
} from "./chat";
