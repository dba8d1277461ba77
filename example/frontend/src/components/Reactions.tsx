import type { Reaction } from "../generated/chat";
import { useSession } from "../session";
import { Emoji, emojiName } from "./Emoji";

interface Props {
  reactions: readonly Reaction[];
  onToggle: (emoji: string) => void;
}

/** One button per emoji, with how many chose it and whether one of them is me. */
export function Reactions({ reactions, onToggle }: Props) {
  const { me } = useSession();
  if (reactions.length === 0) return null;
  const users = new Map<string, Reaction["user"][]>();
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
