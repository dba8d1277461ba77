// Runs operations over real sockets with the graphql-ws client, each over a socket of its own.
//
//   node tests/client/watch.mjs WS_URL ORIGIN SECONDS
//
// In, a line each:  {"id", "query", "variables"} begins an operation, {"id"} alone completes it.
// Out, a line each: {"id", "opened": upgrade headers}, {"id", "next": payload}, {"id", "error": errors or close event},
// {"id", "complete": true}. It ends with its input, or after SECONDS.

import { createInterface } from "node:readline";
import { createClient } from "graphql-ws";
import { WebSocket } from "ws";

const [url, origin, seconds] = process.argv.slice(2);
const running = new Map();

function say(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

function begin({ id, query, variables }) {
  class Socket extends WebSocket {
    constructor(address, protocols) {
      super(address, protocols, { origin });
      this.on("upgrade", ({ headers }) => say({ id, opened: headers }));
    }
  }
  const client = createClient({ url, webSocketImpl: Socket, retryAttempts: 0 });
  const end = client.subscribe(
    { query, variables },
    {
      next: (payload) => say({ id, next: payload }),
      error: (error) => say({ id, error: Array.isArray(error) ? error : closed(error) }),
      complete: () => say({ id, complete: true }),
    },
  );
  running.set(id, { end, client });
}

function closed({ code, reason, message }) {
  return { code, reason: reason ?? message };
}

function finish(id) {
  const { end, client } = running.get(id);
  running.delete(id);
  end();
  return client.dispose();
}

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const operation = JSON.parse(line);
  if (operation.query === undefined) {
    finish(operation.id);
  } else {
    begin(operation);
  }
});
lines.on("close", async () => {
  await Promise.all([...running.keys()].map(finish));
  process.exit(0);
});
setTimeout(() => {
  process.stderr.write(`watch.mjs gave up after ${seconds} seconds\n`);
  process.exit(1);
}, seconds * 1000);
