import type { Status } from "@rxgraphql/client";
import { channelExchange, graphcacheConfig } from "@rxgraphql/client/urql";
import { cacheExchange } from "@urql/exchange-graphcache";
import { useMemo } from "react";
import {
  Client,
  type CombinedError,
  fetchExchange,
  type OperationResult,
  Provider,
  useMutation,
  useQuery,
  useSubscription,
} from "urql";
import { Chat } from "../components/Chat";
import { Members } from "../components/Members";
import { Loading } from "../components/Notice";
import { Room } from "../components/Room";
import { SignIn } from "../components/SignIn";
import {
  DELETE_MESSAGE,
  EDIT_MESSAGE,
  ME,
  MEMBERS,
  PROFILE,
  ROOM,
  SEND_MESSAGE,
  SET_AWAY,
  TOGGLE_REACTION,
} from "../documents";
import { channelMap, keylessTypes, websocketUrl } from "../generated";
import { csrfToken } from "../request";
import { type Actions, SessionProvider } from "../session";

const client = new Client({
  url: "/graphql/",
  // at each request: who signs in gets another token
  fetchOptions: () => ({ headers: { "x-csrftoken": csrfToken() } }),
  exchanges: [
    cacheExchange(graphcacheConfig(channelMap, { keylessTypes })),
    channelExchange({ url: websocketUrl, channelMap }),
    fetchExchange,
  ],
});

export default function UrqlPage() {
  return (
    <Provider value={client}>
      <SignedIn />
    </Provider>
  );
}

function SignedIn() {
  const [{ data, error }] = useQuery({ query: ME });
  const actions = useActions();
  if (error) throw causeOf(error);
  if (!data) return <Loading />;
  if (!data.me) return <SignIn />;
  return (
    <SessionProvider me={data.me.id} actions={actions}>
      <LiveChat me={data.me.id} />
    </SessionProvider>
  );
}

/** No `updates` of the cache: what they change comes by the subscription. */
function useActions(): Actions {
  const [, sendMessage] = useMutation(SEND_MESSAGE);
  const [, editMessage] = useMutation(EDIT_MESSAGE);
  const [, deleteMessage] = useMutation(DELETE_MESSAGE);
  const [, toggleReaction] = useMutation(TOGGLE_REACTION);
  const [, setAway] = useMutation(SET_AWAY);
  return useMemo(
    () => ({
      sendMessage: (variables) => done(sendMessage(variables)),
      editMessage: (variables) => done(editMessage(variables)),
      deleteMessage: (variables) => done(deleteMessage(variables)),
      toggleReaction: (variables) => done(toggleReaction(variables)),
      setAway: (variables) => done(setAway(variables)),
    }),
    [sendMessage, editMessage, deleteMessage, toggleReaction, setAway],
  );
}

/** urql gives the error as a part of the result. */
async function done(result: Promise<OperationResult>): Promise<void> {
  const { error } = await result;
  if (error) throw causeOf(error);
}

/** Without what urql writes before it. */
function causeOf(error: CombinedError): Error {
  return error.graphQLErrors[0] ?? error.networkError ?? error;
}

function LiveChat({ me }: { me: string }) {
  const [{ data, error }, restart] = useSubscription({ query: PROFILE, variables: { id: me } });
  return (
    <Chat profile={data?.profile.state} error={error && causeOf(error)} onRetry={restart}>
      {(name) => <LiveRoom key={name} name={name} />}
    </Chat>
  );
}

function LiveRoom({ name }: { name: string }) {
  const [{ data, error, extensions }, restart] = useSubscription({
    query: ROOM,
    variables: { name },
  });
  return (
    <Room
      name={name}
      room={data?.chatRoom.state}
      status={(extensions?.["status"] as Status | undefined) ?? "connecting"}
      error={error && causeOf(error)}
      onRetry={restart}
      members={<LiveMembers name={name} />}
    />
  );
}

/** Answered from the cache, and live. */
function LiveMembers({ name }: { name: string }) {
  const [{ data }] = useQuery({ query: MEMBERS, variables: { name } });
  return <Members members={data?.chatRoom?.members ?? []} />;
}
