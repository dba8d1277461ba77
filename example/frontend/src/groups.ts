import { dayOf } from "./format";
import type { Message } from "./generated/chat";

/** Messages that one author sent in one go. */
export interface Group {
  readonly key: string;
  /** Said above the group, if it is the first of its day. */
  readonly day: string | null;
  readonly messages: readonly Message[];
}

const PAUSE = 5 * 60 * 1000;

export function groups(messages: readonly Message[]): Group[] {
  const found: { key: string; day: string | null; messages: Message[] }[] = [];
  let before: Message | undefined;
  for (const message of messages) {
    const day = dayOf(message.sentAt);
    const sameDay = before !== undefined && dayOf(before.sentAt) === day;
    if (before && sameDay && follows(before, message)) {
      found.at(-1)?.messages.push(message);
    } else {
      found.push({ key: message.id, day: sameDay ? null : day, messages: [message] });
    }
    before = message;
  }
  return found;
}

function follows(before: Message, message: Message): boolean {
  return (
    before.author.id === message.author.id &&
    Date.parse(message.sentAt) - Date.parse(before.sentAt) < PAUSE
  );
}
