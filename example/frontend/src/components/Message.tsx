import { memo, useEffect, useRef, useState } from "react";
import { fullTimeOf } from "../format";
import type { Message as MessageState } from "../generated/chat";
import { useSession } from "../session";
import { EMOJI, Emoji, emojiName } from "./Emoji";
import { Icon } from "./Icon";
import { MessageEditor } from "./MessageEditor";
import { Reactions } from "./Reactions";

export interface MessageProps {
  message: MessageState;
}

/** Memoized: the state's structural sharing lets one edit render one message. */
export const Message = memo(function Message({ message }: MessageProps) {
  const { me, actions } = useSession();
  const [editing, setEditing] = useState(false);
  const [choosing, setChoosing] = useState(false);
  const [fault, setFault] = useState<string | null>(null);
  const text = useFlash(message.text);
  const mine = message.author.id === me;

  function run(work: Promise<unknown>): void {
    setFault(null);
    setChoosing(false);
    work.catch((reason: unknown) =>
      setFault(reason instanceof Error ? reason.message : String(reason)),
    );
  }
  const react = (emoji: string) => run(actions.toggleReaction({ message: message.id, emoji }));

  return (
    <article className="message" data-choosing={choosing || undefined}>
      {editing ? (
        <MessageEditor
          text={message.text}
          onCancel={() => setEditing(false)}
          onSave={async (edited) => {
            await actions.editMessage({ message: message.id, text: edited });
            setEditing(false);
          }}
        />
      ) : (
        <p className="text" ref={text}>
          {message.text}
          {message.editedAt && (
            <time
              className="edited"
              dateTime={message.editedAt}
              title={fullTimeOf(message.editedAt)}
            >
              edited
            </time>
          )}
        </p>
      )}
      <Reactions reactions={message.reactions} onToggle={react} />
      {fault && (
        <p className="fault" role="alert">
          {fault}
        </p>
      )}
      {!editing && (
        <div className="tools" role="group" aria-label="Message tools">
          {choosing ? (
            EMOJI.map((emoji) => (
              <button
                key={emoji}
                className="icon-button"
                aria-label={`React with ${emojiName(emoji)}`}
                onClick={() => react(emoji)}
              >
                <Emoji emoji={emoji} />
              </button>
            ))
          ) : (
            <>
              <button
                className="icon-button"
                aria-label="Add a reaction"
                title="React"
                onClick={() => setChoosing(true)}
              >
                <Icon name="smile" />
              </button>
              {mine && (
                <>
                  <button
                    className="icon-button"
                    aria-label="Edit the message"
                    title="Edit"
                    onClick={() => setEditing(true)}
                  >
                    <Icon name="edit" />
                  </button>
                  <button
                    className="icon-button"
                    aria-label="Delete the message"
                    title="Delete"
                    onClick={() => run(actions.deleteMessage({ message: message.id }))}
                  >
                    <Icon name="trash" />
                  </button>
                </>
              )}
            </>
          )}
          {choosing && (
            <button className="icon-button" aria-label="Close" onClick={() => setChoosing(false)}>
              <Icon name="close" />
            </button>
          )}
        </div>
      )}
    </article>
  );
});

/** Lets the element light up when its text is changed by somebody, here or elsewhere. */
function useFlash(value: string) {
  const element = useRef<HTMLParagraphElement>(null);
  const shown = useRef(value);
  useEffect(() => {
    if (shown.current === value) return;
    shown.current = value;
    if (window.matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    element.current?.animate(
      [{ backgroundColor: "var(--flash)" }, { backgroundColor: "transparent" }],
      { duration: 1600, easing: "ease-out" },
    );
  }, [value]);
  return element;
}
