import { createContext, type ReactNode, useContext, useMemo } from "react";
import type {
  DeleteMessageMutationVariables,
  EditMessageMutationVariables,
  SendMessageMutationVariables,
  SetAwayMutationVariables,
  ToggleReactionMutationVariables,
} from "./generated";

/**
 * What one can do here. Each page does it with its own client; a promise rejects with what went wrong.
 *
 * None of them touches what is shown: that comes back by the subscription, here as on everybody else's screen.
 */
export interface Actions {
  sendMessage(variables: SendMessageMutationVariables): Promise<unknown>;
  editMessage(variables: EditMessageMutationVariables): Promise<unknown>;
  deleteMessage(variables: DeleteMessageMutationVariables): Promise<unknown>;
  toggleReaction(variables: ToggleReactionMutationVariables): Promise<unknown>;
  setAway(variables: SetAwayMutationVariables): Promise<unknown>;
}

interface Session {
  /** The id of who is signed in. */
  readonly me: string;
  readonly actions: Actions;
}

const SessionContext = createContext<Session | null>(null);

export function SessionProvider({ me, actions, children }: Session & { children: ReactNode }) {
  const session = useMemo(() => ({ me, actions }), [me, actions]);
  return <SessionContext value={session}>{children}</SessionContext>;
}

export function useSession(): Session {
  const session = useContext(SessionContext);
  if (!session) throw new Error("useSession() is for what a SessionProvider surrounds.");
  return session;
}
