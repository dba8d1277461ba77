import type { TypedDocumentNode } from "@rxgraphql/client";
import { print } from "graphql";

interface Answer<Data> {
  data?: Data | null;
  errors?: { message: string }[];
}

/** A query or mutation over HTTP. Rejects with what the server says is wrong. */
export async function request<Data, Variables>(
  document: TypedDocumentNode<Data, Variables>,
  variables: Variables,
): Promise<Data> {
  const response = await fetch("/graphql/", {
    method: "POST",
    headers: { "content-type": "application/json", "x-csrftoken": csrfToken() },
    body: JSON.stringify({ query: print(document), variables }),
  });
  const answer = (await response.json()) as Answer<Data>;
  if (answer.errors?.[0]) throw new Error(answer.errors[0].message);
  if (!answer.data) throw new Error(`The server answered with ${response.status}.`);
  return answer.data;
}

/** Django asks for it wherever the session's cookie says who it is. */
export function csrfToken(): string {
  return /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie)?.[1] ?? "";
}
