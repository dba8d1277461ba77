import { type ComponentType, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { fullTimeOf, timeOf } from "../format";
import type { Message as MessageState } from "../generated/chat";
import { groups } from "../groups";
import { Avatar } from "./Avatar";
import { Icon } from "./Icon";
import { Message, type MessageProps } from "./Message";
import { Notice } from "./Notice";

interface Props {
  messages: readonly MessageState[];
  row?: ComponentType<MessageProps> | undefined;
}

/** Follows the newest message as long as the reader is at the bottom. */
export function MessageList({ messages, row: Row = Message }: Props) {
  const scroller = useRef<HTMLDivElement>(null);
  const atBottom = useRef(true);
  const [unseen, setUnseen] = useState(false);
  const newest = messages.at(-1)?.id;
  const grouped = useMemo(() => groups(messages), [messages]);

  useLayoutEffect(() => {
    if (atBottom.current) toBottom(scroller.current);
  }, [messages]);
  useEffect(() => {
    if (!atBottom.current) setUnseen(true);
  }, [newest]);
  useEffect(() => {
    // also when a notice above it, or a longer draft below, leaves it less room
    const element = scroller.current;
    if (!element) return;
    const observer = new ResizeObserver(() => {
      if (atBottom.current) toBottom(element);
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, [messages.length === 0]);

  function onScroll(): void {
    const element = scroller.current;
    if (!element) return;
    atBottom.current = element.scrollHeight - element.scrollTop - element.clientHeight < 48;
    if (atBottom.current) setUnseen(false);
  }

  if (messages.length === 0) {
    return (
      <div className="messages">
        <Notice title="Nothing said yet" calm>
          Be the first.
        </Notice>
      </div>
    );
  }
  return (
    <div className="messages-frame">
      <div
        className="messages"
        ref={scroller}
        onScroll={onScroll}
        tabIndex={0}
        role="log"
        aria-label="Messages"
      >
        {grouped.map((group) => {
          const first = group.messages[0];
          if (!first) return null;
          return (
            <section key={group.key}>
              {group.day && <h3 className="day">{group.day}</h3>}
              <div className="group">
                <Avatar user={first.author} />
                <div className="group-body">
                  <p className="group-author">
                    <strong>{first.author.name}</strong>
                    <time dateTime={first.sentAt} title={fullTimeOf(first.sentAt)}>
                      {timeOf(first.sentAt)}
                    </time>
                  </p>
                  {group.messages.map((message) => (
                    <Row key={message.id} message={message} />
                  ))}
                </div>
              </div>
            </section>
          );
        })}
      </div>
      {unseen && (
        <button className="newer" onClick={() => toBottom(scroller.current, "smooth")}>
          <Icon name="down" /> New messages
        </button>
      )}
    </div>
  );
}

function toBottom(element: HTMLElement | null, behavior: ScrollBehavior = "instant"): void {
  element?.scrollTo({ top: element.scrollHeight, behavior });
}
