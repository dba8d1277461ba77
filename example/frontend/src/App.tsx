import { useEffect, useState } from "react";
import { request } from "./client";
import { Notice } from "./components/Notice";
import { Room } from "./components/Room";
import { Sidebar } from "./components/Sidebar";
import { Me, PROFILE, Profile, type ProfileState } from "./documents";
import { useLive } from "./useLive";
import { navigate, roomPath, useRoomName } from "./useRoute";

export function App() {
  const [me, setMe] = useState<string | null>(null);
  const [fault, setFault] = useState<string | null>(null);

  useEffect(() => {
    request(Me, {}).then(
      ({ me }) => {
        if (me) setMe(me.id);
        else window.location.assign(`/login/?next=${encodeURIComponent(window.location.pathname)}`);
      },
      (reason: unknown) => setFault(String(reason)),
    );
  }, []);

  if (fault) {
    return (
      <Notice title="The server can't be reached">
        <p>{fault}</p>
        <button className="button" onClick={() => window.location.reload()}>
          Try again
        </button>
      </Notice>
    );
  }
  return me ? <Chat me={me} /> : <Notice title="Signing in…" busy />;
}

function Chat({ me }: { me: string }) {
  const { state: profile, error } = useLive<ProfileState, { id: string }>(
    Profile,
    { id: me },
    PROFILE,
  );
  const room = useRoomName();
  const first = profile?.rooms[0]?.name;
  const [menu, setMenu] = useState(false);

  useEffect(() => {
    if (room === null && first !== undefined) navigate(roomPath(first));
  }, [room, first]);
  useEffect(() => setMenu(false), [room]);

  if (error) return <Notice title="Your account can't be shown">{error}</Notice>;
  if (!profile) return <Notice title="Loading your rooms…" busy />;
  return (
    <div className="chat" data-menu={menu || undefined}>
      <Sidebar profile={profile} room={room} onClose={() => setMenu(false)} />
      {room !== null ? (
        <Room key={room} me={me} name={room} onMenu={() => setMenu(true)} />
      ) : (
        first === undefined && (
          <Notice title="You are in no room yet" calm>
            Ask somebody to add you in the admin: the room appears here by itself.
          </Notice>
        )
      )}
    </div>
  );
}
