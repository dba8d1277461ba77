import { useEffect, useState } from "react";
import { ROOM, Room as RoomDocument, type RoomState } from "../documents";
import { useLive } from "../useLive";
import { Composer } from "./Composer";
import { ConnectionStatus } from "./ConnectionStatus";
import { Icon } from "./Icon";
import { Members } from "./Members";
import { MessageList } from "./MessageList";
import { Notice } from "./Notice";

interface Props {
  me: string;
  name: string;
  onMenu: () => void;
}

export function Room({ me, name, onMenu }: Props) {
  const {
    state: room,
    status,
    error,
  } = useLive<RoomState, { name: string }>(RoomDocument, { name }, ROOM);
  const [membersOpen, setMembersOpen] = useState(false);

  useEffect(() => {
    document.title = `#${room?.name ?? name} · Team chat`;
  }, [room?.name, name]);

  return (
    <>
      <main className="room">
        <header className="room-header">
          <button className="icon-button menu-button" onClick={onMenu} aria-label="Open the menu">
            <Icon name="menu" />
          </button>
          <div className="room-title">
            <h2>
              <span className="hash" aria-hidden="true">
                #
              </span>
              {room?.name ?? name}
            </h2>
            {room?.topic && <p>{room.topic}</p>}
          </div>
          <ConnectionStatus />
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
            <MessageList me={me} messages={room.messages} />
            <Composer room={room.name} />
          </>
        ) : (
          <Placeholder status={status} error={error} />
        )}
      </main>
      {room && <Members members={room.members} open={membersOpen} />}
    </>
  );
}

function Placeholder({ status, error }: { status: string; error: string | null }) {
  if (status === "loading") {
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
  if (status === "gone") {
    return <Notice title="This room is gone">Somebody deleted it a moment ago.</Notice>;
  }
  return <Notice title="This room can't be shown">{error}</Notice>;
}
