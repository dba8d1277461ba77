import { graphql } from "./generated";

/** What all three pages ask and do over HTTP. */

export const ME = graphql(`
  query Me {
    me {
      id
    }
  }
`);

export const SEND_MESSAGE = graphql(`
  mutation SendMessage($room: String!, $text: String!) {
    sendMessage(room: $room, text: $text) {
      id
    }
  }
`);

export const EDIT_MESSAGE = graphql(`
  mutation EditMessage($message: ID!, $text: String!) {
    editMessage(message: $message, text: $text) {
      __typename
      id
      text
      editedAt
    }
  }
`);

export const DELETE_MESSAGE = graphql(`
  mutation DeleteMessage($message: ID!) {
    deleteMessage(message: $message)
  }
`);

export const TOGGLE_REACTION = graphql(`
  mutation ToggleReaction($message: ID!, $emoji: String!) {
    toggleReaction(message: $message, emoji: $emoji) {
      id
    }
  }
`);

export const SET_AWAY = graphql(`
  mutation SetAway($away: Boolean!) {
    setAway(away: $away) {
      id
      away
    }
  }
`);

/** What Apollo and urql subscribe to. The hook needs none of these: it has the channels. */

export const PROFILE = graphql(`
  subscription Profile($id: ID!) {
    profile(id: $id) {
      state {
        id
        username
        name
        status
        away
        isStaff
        rooms {
          id
          name
          topic
        }
      }
    }
  }
`);

export const ROOM = graphql(`
  subscription Room($name: String!) {
    chatRoom(name: $name) {
      state {
        id
        name
        topic
        members {
          ...UserFields
        }
        messages {
          ...MessageFields
        }
      }
    }
  }
`);

/** Answered from the cache, into which the subscription to the room brings it. */
export const MEMBERS = graphql(`
  query Members($name: String!) {
    chatRoom(name: $name) {
      id
      members {
        ...UserFields
      }
    }
  }
`);

export const MESSAGE_FIELDS = graphql(`
  fragment MessageFields on Message {
    id
    text
    sentAt
    editedAt
    author {
      ...UserFields
    }
    reactions {
      id
      emoji
      user {
        ...UserFields
      }
    }
  }
`);

export const USER_FIELDS = graphql(`
  fragment UserFields on User {
    id
    username
    name
    status
    away
  }
`);
