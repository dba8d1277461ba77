/* eslint-disable */
// Made by rxgraphql-codegen. Changes are lost: run it again instead.
import { defineChannel } from "@rxgraphql/client";
import { channelMap } from "./channel-map";
import type * as nodes from "./nodes";

export type {
  ChatRoom,
  Message,
  Profile,
  Reaction,
  RoomLink,
  User,
} from "./nodes";

/** A room with all that is said in it, for its members. */
export class ChatRoomChannel extends /*#__PURE__*/ defineChannel<
  ChatRoomState,
  { readonly name: string },
  [name: string]
>(channelMap, "chatRoom") {}

/** All that a `ChatRoomChannel` shows, nested. */
export type ChatRoomState = nodes.ChatRoom;

/** Somebody's own account and the rooms they are in. */
export class ProfileChannel extends /*#__PURE__*/ defineChannel<
  ProfileState,
  { readonly id: string },
  [id: string]
>(channelMap, "profile") {}

/** All that a `ProfileChannel` shows, nested. */
export type ProfileState = nodes.Profile;
