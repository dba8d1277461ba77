import { graphql, type ProfileSubscription, type RoomSubscription } from "./generated";
import type { Shape } from "./live";

export const Me = graphql(`
  query Me {
    me {
      id
    }
  }
`);

export const Profile = graphql(`
  subscription Profile($id: ID!) {
    profile(id: $id) {
      kind
      removed
      lists {
        node
        field
        index
        removed
        inserted
      }
      users {
        __typename
        id
        name
        away
        isStaff
      }
      roomLinks {
        __typename
        id
        name
        topic
      }
    }
  }
`);

export const Room = graphql(`
  subscription Room($name: String!) {
    chatRoom(name: $name) {
      kind
      removed
      lists {
        node
        field
        index
        removed
        inserted
      }
      chatRooms {
        __typename
        id
        name
        topic
      }
      users {
        __typename
        id
        username
        name
        status
        away
      }
      messages {
        __typename
        id
        text
        sentAt
        editedAt
        author {
          __typename
          id
        }
      }
      reactions {
        __typename
        id
        emoji
        user {
          __typename
          id
        }
      }
    }
  }
`);

export const SendMessage = graphql(`
  mutation SendMessage($room: String!, $text: String!) {
    sendMessage(room: $room, text: $text) {
      id
    }
  }
`);

export const EditMessage = graphql(`
  mutation EditMessage($message: ID!, $text: String!) {
    editMessage(message: $message, text: $text) {
      id
    }
  }
`);

export const DeleteMessage = graphql(`
  mutation DeleteMessage($message: ID!) {
    deleteMessage(message: $message)
  }
`);

export const ToggleReaction = graphql(`
  mutation ToggleReaction($message: ID!, $emoji: String!) {
    toggleReaction(message: $message, emoji: $emoji) {
      id
    }
  }
`);

export const SetAway = graphql(`
  mutation SetAway($away: Boolean!) {
    setAway(away: $away) {
      id
    }
  }
`);

type RoomEvent = RoomSubscription["chatRoom"];
type ProfileEvent = ProfileSubscription["profile"];

export type UserState = RoomEvent["users"][number];
export type ReactionState = RoomEvent["reactions"][number] & { readonly user: UserState };
export type MessageState = RoomEvent["messages"][number] & {
  readonly author: UserState;
  readonly reactions: readonly ReactionState[];
};
export type RoomState = RoomEvent["chatRooms"][number] & {
  readonly members: readonly UserState[];
  readonly messages: readonly MessageState[];
};
export type RoomLinkState = ProfileEvent["roomLinks"][number];
export type ProfileState = ProfileEvent["users"][number] & {
  readonly rooms: readonly RoomLinkState[];
};

export const ROOM: Shape = {
  root: "ChatRoom",
  lists: { ChatRoom: ["members", "messages"], Message: ["reactions"] },
};

export const PROFILE: Shape = { root: "Profile", lists: { Profile: ["rooms"] } };
