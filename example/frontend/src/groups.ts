import type { MessageState } from "./documents";
import { dayOf } from "./format";

/** Messages that one author sent in one go. */
export interface Group {
  readonly key: string;
  /** Said above the group, if it is the first of its day. */
  readonly day: string | null;
  readonly messages: readonly MessageState[];
}

const PAUSE = 5 * 60 * 1000;

export function groups(messages: readonly MessageState[]): Group[] {
  const found: { key: string; day: string | null; messages: MessageState[] }[] = [];
  let before: MessageState | undefined;
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

function follows(before: MessageState, message: MessageState): boolean {
  return (
    before.author.id === message.author.id &&
    Date.parse(message.sentAt) - Date.parse(before.sentAt) < PAUSE
  );
}
