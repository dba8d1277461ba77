import { ApolloClient, ApolloLink, HttpLink, InMemoryCache } from "@apollo/client";
import { SetContextLink } from "@apollo/client/link/context";
import {
  ApolloProvider,
  useFragment,
  useMutation,
  useQuery,
  useSubscription,
  useSuspenseQuery,
} from "@apollo/client/react";
import { createClient } from "@rxgraphql/client";
import { channelLink, typePolicies } from "@rxgraphql/client/apollo";
import { RxProvider, useChannelState } from "@rxgraphql/client/react";
import { memo, useMemo } from "react";
import { Chat } from "../components/Chat";
import { Members } from "../components/Members";
import { Message, type MessageProps } from "../components/Message";
import { Room } from "../components/Room";
import { SignIn } from "../components/SignIn";
import {
  DELETE_MESSAGE,
  EDIT_MESSAGE,
  ME,
  MEMBERS,
  MESSAGE_FIELDS,
  PROFILE,
  ROOM,
  SEND_MESSAGE,
  SET_AWAY,
  TOGGLE_REACTION,
} from "../documents";
import { channelMap, keylessTypes, websocketUrl } from "../generated";
import { ChatRoomChannel, type ChatRoomState } from "../generated/chat";
import { csrfToken } from "../request";
import { type Actions, SessionProvider } from "../session";

const rx = createClient({ url: websocketUrl, channelMap });

const client = new ApolloClient({
  link: ApolloLink.from([
    channelLink(rx),
    // at each request: who signs in gets another token
    new SetContextLink(({ headers }) => ({ headers: { ...headers, "x-csrftoken": csrfToken() } })),
    new HttpLink({ uri: "/graphql/" }),
  ]),
  cache: new InMemoryCache({ typePolicies: typePolicies(channelMap, { keylessTypes }) }),
});

export default function ApolloPage() {
  return (
    <RxProvider client={rx}>
      <ApolloProvider client={client}>
        <SignedIn />
      </ApolloProvider>
    </RxProvider>
  );
}

function SignedIn() {
  const { me } = useSuspenseQuery(ME).data;
  const actions = useActions();
  if (!me) return <SignIn />;
  return (
    <SessionProvider me={me.id} actions={actions}>
      <LiveChat me={me.id} />
    </SessionProvider>
  );
}

/** No `update`, no `refetchQueries`: what they change comes by the subscription. */
function useActions(): Actions {
  const [sendMessage] = useMutation(SEND_MESSAGE);
  const [editMessage] = useMutation(EDIT_MESSAGE, {
    optimisticResponse: ({ message, text }) => ({
      editMessage: {
        __typename: "Message" as const,
        id: message,
        text,
        editedAt: new Date().toISOString(),
      },
    }),
  });
  const [deleteMessage] = useMutation(DELETE_MESSAGE);
  const [toggleReaction] = useMutation(TOGGLE_REACTION);
  const [setAway] = useMutation(SET_AWAY);
  return useMemo(
    () => ({
      sendMessage: (variables) => sendMessage({ variables }),
      editMessage: (variables) => editMessage({ variables }),
      deleteMessage: (variables) => deleteMessage({ variables }),
      toggleReaction: (variables) => toggleReaction({ variables }),
      setAway: (variables) => setAway({ variables }),
    }),
    [sendMessage, editMessage, deleteMessage, toggleReaction, setAway],
  );
}

function LiveChat({ me }: { me: string }) {
  const { data, error, restart } = useSubscription(PROFILE, { variables: { id: me } });
  return (
    <Chat profile={data?.profile.state} error={error} onRetry={restart}>
      {(name) => <LiveRoom key={name} name={name} />}
    </Chat>
  );
}

function LiveRoom({ name }: { name: string }) {
  const { data, error, restart } = useSubscription(ROOM, { variables: { name } });
  // What Apollo doesn't tell, from the same subscription.
  const { status } = useChannelState(ChatRoomChannel, { name }, { select: idOf });
  return (
    <Room
      name={name}
      room={data?.chatRoom.state}
      status={status}
      error={error}
      onRetry={restart}
      members={<LiveMembers name={name} />}
      row={LiveMessage}
    />
  );
}

const idOf = (room: ChatRoomState) => room.id;

/** Answered from the cache, and live. */
function LiveMembers({ name }: { name: string }) {
  const { data } = useQuery(MEMBERS, { variables: { name } });
  return <Members members={data?.chatRoom?.members ?? []} />;
}

/** From the cache by its key, where an edit is seen before the server has answered. */
const LiveMessage = memo(function LiveMessage({ message: { id } }: MessageProps) {
  const from = { __typename: "Message", id } as const;
  const { data, complete } = useFragment({
    fragment: MESSAGE_FIELDS,
    fragmentName: "MessageFields",
    from,
  });
  return complete && <Message message={data} />;
});
