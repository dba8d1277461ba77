import type { Status } from "@rxgraphql/client";
import { type ComponentType, type ReactNode, useEffect, useState } from "react";
import type { ChatRoom } from "../generated/chat";
import { useOpenMenu } from "./Chat";
import { Composer } from "./Composer";
import { ConnectionStatus } from "./ConnectionStatus";
import { Icon } from "./Icon";
import type { MessageProps } from "./Message";
import { MessageList } from "./MessageList";
import { Notice } from "./Notice";

interface Props {
  name: string;
  room: ChatRoom | null | undefined;
  status: Status;
  error: { message: string } | null | undefined;
  onRetry: () => void;
  members: ReactNode;
  /** Another than `Message`. */
  row?: ComponentType<MessageProps> | undefined;
}

export function Room({ name, room, status, error, onRetry, members, row }: Props) {
  const openMenu = useOpenMenu();
  const [membersOpen, setMembersOpen] = useState(false);

  useEffect(() => {
    document.title = `#${name} · Team chat`;
  }, [name]);

  return (
    <>
      <main className="room">
        <header className="room-header">
          <button className="icon-button menu-button" onClick={openMenu} aria-label="Open the menu">
            <Icon name="menu" />
          </button>
          <div className="room-title">
            <h2>
              <span className="hash" aria-hidden="true">
                #
              </span>
              {name}
            </h2>
            {room?.topic && <p>{room.topic}</p>}
          </div>
          <ConnectionStatus status={status} />
          {room && (
            <button
              className="icon-button members-button"
              aria-expanded={membersOpen}
              aria-label={`Members, ${room.members.length}`}
              onClick={() => setMembersOpen(!membersOpen)}
            >
              <Icon name="people" />
            </button>
          )}
        </header>
        {room ? (
          <>
            <MessageList messages={room.messages} row={row} />
            {error && (
              <p className="not-live" role="alert">
                {error.message}
                <button className="button quiet" onClick={onRetry}>
                  Try again
                </button>
              </p>
            )}
            <Composer room={name} />
          </>
        ) : (
          <Placeholder status={status} error={error} onRetry={onRetry} />
        )}
      </main>
      {room && (
        <aside className="members" aria-label="Members" data-open={membersOpen || undefined}>
          {members}
        </aside>
      )}
    </>
  );
}

function Placeholder({ status, error, onRetry }: Pick<Props, "status" | "error" | "onRetry">) {
  if (error) {
    return (
      <Notice title="This room can't be shown" onRetry={onRetry}>
        {error.message}
      </Notice>
    );
  }
  if (status === "ended") {
    return <Notice title="This room is gone">Somebody deleted it a moment ago.</Notice>;
  }
  return (
    <div className="skeleton" role="status" aria-label="Loading the room">
      {[72, 44, 58, 30].map((width) => (
        <div key={width} className="skeleton-message">
          <span className="skeleton-avatar" />
          <span className="skeleton-line" style={{ width: `${width}%` }} />
        </div>
      ))}
    </div>
  );
}
