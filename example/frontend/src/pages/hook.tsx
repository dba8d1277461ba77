import { useChannelState } from "@rxgraphql/client/react";
import { use } from "react";
import { Chat } from "../components/Chat";
import { Members } from "../components/Members";
import { Room } from "../components/Room";
import { SignIn } from "../components/SignIn";
import {
  DELETE_MESSAGE,
  EDIT_MESSAGE,
  ME,
  SEND_MESSAGE,
  SET_AWAY,
  TOGGLE_REACTION,
} from "../documents";
import { ChatRoomChannel, type ChatRoomState, ProfileChannel } from "../generated/chat";
import { request } from "../request";
import { type Actions, SessionProvider } from "../session";

// What is shown needs no GraphQL, no client and no provider: the generated channels know all that it takes.

const signedIn = request(ME, {});

const actions: Actions = {
  sendMessage: (variables) => request(SEND_MESSAGE, variables),
  editMessage: (variables) => request(EDIT_MESSAGE, variables),
  deleteMessage: (variables) => request(DELETE_MESSAGE, variables),
  toggleReaction: (variables) => request(TOGGLE_REACTION, variables),
  setAway: (variables) => request(SET_AWAY, variables),
};

export default function HookPage() {
  const { me } = use(signedIn);
  if (!me) return <SignIn />;
  return (
    <SessionProvider me={me.id} actions={actions}>
      <LiveChat me={me.id} />
    </SessionProvider>
  );
}

function LiveChat({ me }: { me: string }) {
  const { state, error, retry } = useChannelState(ProfileChannel, { id: me });
  return (
    <Chat profile={state} error={error} onRetry={retry}>
      {(name) => <LiveRoom key={name} name={name} />}
    </Chat>
  );
}

function LiveRoom({ name }: { name: string }) {
  const { state, status, error, retry } = useChannelState(ChatRoomChannel, { name });
  return (
    <Room
      name={name}
      room={state}
      status={status}
      error={error}
      onRetry={retry}
      members={<LiveMembers name={name} />}
    />
  );
}

/** The same subscription; renders when a member changes, and not when something is said. */
function LiveMembers({ name }: { name: string }) {
  const { state } = useChannelState(ChatRoomChannel, { name }, { select: membersOf });
  return <Members members={state ?? []} />;
}

const membersOf = (room: ChatRoomState) => room.members;
