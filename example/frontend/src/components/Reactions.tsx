import type { ReactionState } from "../documents";
import { Emoji, emojiName } from "./Emoji";

interface Props {
  me: string;
  reactions: readonly ReactionState[];
  onToggle: (emoji: string) => void;
}

/** One button per emoji, with how many chose it and whether one of them is me. */
export function Reactions({ me, reactions, onToggle }: Props) {
  if (reactions.length === 0) return null;
  const users = new Map<string, ReactionState["user"][]>();
  for (const { emoji, user } of reactions) {
    users.set(emoji, [...(users.get(emoji) ?? []), user]);
  }
  return (
    <ul className="reactions" aria-label="Reactions">
      {[...users].map(([emoji, fans]) => {
        const names = fans.map(({ name }) => name).join(", ");
        return (
          <li key={emoji}>
            <button
              className="reaction"
              aria-pressed={fans.some(({ id }) => id === me)}
              aria-label={`${emojiName(emoji)}, ${fans.length}: ${names}`}
              title={names}
              onClick={() => onToggle(emoji)}
            >
              <Emoji emoji={emoji} />
              {fans.length}
            </button>
          </li>
        );
      })}
    </ul>
  );
}
