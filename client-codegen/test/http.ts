import { request } from "node:http";

/** A `fetch` for a page without one of its own: each request is noted, and its answer kept back until `hold` resolves. */
export function fetcher(
  noted: (body: string) => void,
  headers: () => Record<string, string>,
  hold: (body: string) => Promise<void> = () => Promise.resolve(),
): typeof fetch {
  const fetched = async (url: unknown, options: RequestInit = {}): Promise<Response> => {
    const body = String(options.body);
    noted(body);
    const text = await post(String(url), body, headers());
    await hold(body);
    return new Response(text, { headers: { "content-type": "application/json" } });
  };
  return fetched as typeof fetch;
}

function post(url: string, body: string, headers: Record<string, string>): Promise<string> {
  return new Promise((resolve, reject) => {
    const all = { "content-type": "application/json", ...headers };
    const sent = request(url, { method: "POST", headers: all }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () => resolve(text));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}
