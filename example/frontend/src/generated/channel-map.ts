/* eslint-disable */
// Made by rxgraphql-codegen. Changes are lost: run it again instead.
import type { ChannelMap } from "@rxgraphql/client";

/** What the client knows of the schema's channels. */
export const channelMap: ChannelMap = {
  url: "/graphql/",
  channels: {
    "chatRoom": {
      "name": "ChatRoom",
      "field": "chatRoom",
      "event": "ChatRoomEvent",
      "root": "ChatRoom",
      "arguments": {
        "name": "String!"
      },
      "lists": {
        "ChatRoom": "chatRooms",
        "Message": "messages",
        "Reaction": "reactions",
        "User": "users"
      }
    },
    "profile": {
      "name": "Profile",
      "field": "profile",
      "event": "ProfileEvent",
      "root": "Profile",
      "arguments": {
        "id": "ID!"
      },
      "lists": {
        "RoomLink": "roomLinks",
        "Profile": "users"
      }
    }
  },
  types: {
    "ChatRoom": {
      "leaves": [
        "name",
        "topic"
      ],
      "edges": {
        "members": {
          "type": "User",
          "many": true,
          "nullable": false
        },
        "messages": {
          "type": "Message",
          "many": true,
          "nullable": false
        }
      }
    },
    "Message": {
      "leaves": [
        "editedAt",
        "sentAt",
        "text"
      ],
      "edges": {
        "author": {
          "type": "User",
          "many": false,
          "nullable": false
        },
        "reactions": {
          "type": "Reaction",
          "many": true,
          "nullable": false
        }
      }
    },
    "Profile": {
      "leaves": [
        "away",
        "isStaff",
        "name",
        "status",
        "username"
      ],
      "edges": {
        "rooms": {
          "type": "RoomLink",
          "many": true,
          "nullable": false
        }
      }
    },
    "Reaction": {
      "leaves": [
        "emoji"
      ],
      "edges": {
        "user": {
          "type": "User",
          "many": false,
          "nullable": false
        }
      }
    },
    "RoomLink": {
      "leaves": [
        "name",
        "topic"
      ],
      "edges": {}
    },
    "User": {
      "leaves": [
        "away",
        "name",
        "status",
        "username"
      ],
      "edges": {}
    }
  },
};

/** Types without an `id`: a normalizing cache shouldn't look for a key of theirs. */
export const keylessTypes: readonly string[] = [
  "ChatRoomEvent",
  "ListChange",
  "ProfileEvent"
];
