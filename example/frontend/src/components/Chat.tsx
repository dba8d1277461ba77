import { createContext, type ReactNode, useContext, useEffect, useState } from "react";
import type { Profile } from "../generated/chat";
import { navigate, pathOf, useRoute } from "../useRoute";
import { Loading, Notice } from "./Notice";
import { Sidebar } from "./Sidebar";

interface Props {
  profile: Profile | null | undefined;
  error: { message: string } | null | undefined;
  onRetry: () => void;
  /** The room that the address names. */
  children: (room: string) => ReactNode;
}

const OpenMenu = createContext<() => void>(() => undefined);

/** On a phone the sidebar is a menu. */
export function useOpenMenu(): () => void {
  return useContext(OpenMenu);
}

/** The frame: the sidebar, and a room. */
export function Chat({ profile, error, onRetry, children }: Props) {
  const { page, room } = useRoute();
  const [menu, setMenu] = useState(false);
  const first = profile?.rooms[0]?.name;

  useEffect(() => {
    if (room === null && first !== undefined)
      navigate(pathOf({ page, room: first }), { replace: true });
  }, [page, room, first]);
  useEffect(() => setMenu(false), [room]);

  if (error) {
    return (
      <Notice title="Your account can't be shown" onRetry={onRetry}>
        {error.message}
      </Notice>
    );
  }
  if (!profile) return <Loading />;
  return (
    <OpenMenu value={() => setMenu(true)}>
      <div className="chat" data-menu={menu || undefined}>
        <Sidebar profile={profile} onClose={() => setMenu(false)} />
        <div className="scrim" onClick={() => setMenu(false)} />
        {room !== null
          ? children(room)
          : first === undefined && (
              <Notice title="You are in no room yet" calm>
                Ask somebody to add you in the admin: the room appears here by itself.
              </Notice>
            )}
      </div>
    </OpenMenu>
  );
}
