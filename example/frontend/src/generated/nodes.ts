/* eslint-disable */
// Made by rxgraphql-codegen. Changes are lost: run it again instead.

export interface ChatRoom {
  readonly id: string;
  readonly members: readonly User[];
  readonly messages: readonly Message[];
  readonly name: string;
  readonly topic: string;
}

export interface Message {
  readonly id: string;
  readonly author: User;
  readonly editedAt: string | null;
  readonly reactions: readonly Reaction[];
  readonly sentAt: string;
  readonly text: string;
}

export interface Profile {
  readonly id: string;
  readonly away: boolean;
  /** Designates whether the user can log into this admin site. */
  readonly isStaff: boolean;
  /** As others see it. */
  readonly name: string;
  readonly rooms: readonly RoomLink[];
  /** What they are up to. */
  readonly status: string;
  /** Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only. */
  readonly username: string;
}

export interface Reaction {
  readonly id: string;
  readonly emoji: string;
  readonly user: User;
}

export interface RoomLink {
  readonly id: string;
  readonly name: string;
  readonly topic: string;
}

export interface User {
  readonly id: string;
  readonly away: boolean;
  /** As others see it. */
  readonly name: string;
  /** What they are up to. */
  readonly status: string;
  /** Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only. */
  readonly username: string;
}
