// What an event costs at 10,000 nodes, in code that is minified as in production: `npm run bench`. All contenders play the same
// events in turn, round by round; a round's figure is the median of its folds. Prints medians in milliseconds and what each is to the
// hook (the median of the rounds' ratios), writes every round to build/bench-client.json, and fails beyond the hook's limits.
import { mkdir, writeFile } from "node:fs/promises";
import { apollo } from "./apollo.mjs";
import { hook, Naive } from "./hook.mjs";
import { imported } from "./production.mjs";
import { changes, snapshot } from "./room.mjs";
import { urql } from "./urql.mjs";

const ROUNDS = 7;
const REPORT = new URL("../../build/bench-client.json", import.meta.url);
const LIMITS = { update: 1, create: 1, delete: 1, snapshot: 100 };

const modules = await imported(`
  export { ApolloClient, ApolloLink, InMemoryCache, Observable, gql } from "@apollo/client";
  export { channelLink, typePolicies as apolloTypePolicies } from "@/apollo.ts";
  export { Client, subscriptionExchange } from "@urql/core";
  export { cacheExchange } from "@urql/exchange-graphcache";
  export { channelExchange, graphcacheConfig } from "@/urql.ts";
  export { Store } from "@/store.ts";
  export { everything, flatten } from "@/flatten.ts";`);
const Hook = hook(modules);
const contenders = [Hook, Naive, ...apollo(Hook, modules), ...urql(Hook, modules)];

function median(values) {
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[Math.floor(sorted.length / 2)];
}

/** As graphql-ws hands it over: parsed, and nobody else's. */
const received = (event) => JSON.parse(JSON.stringify(event));

/** Of each contender, the milliseconds of each round. */
async function compare(play) {
  const rounds = new Map(contenders.map((contender) => [contender, []]));
  for (let round = 0; round < ROUNDS; round++)
    for (const contender of contenders) rounds.get(contender).push(await play(contender));
  return rounds;
}

const results = [];
results.push(["snapshot", await compare((Contender) => new Contender().fold(received(snapshot)))]);

const held = new Map(contenders.map((Contender) => [Contender, new Contender()]));
for (const contender of held.values()) await contender.fold(received(snapshot));
for (const [what, event] of Object.entries(changes)) {
  const turns = new Map();
  const play = async (Contender) => {
    const took = [];
    for (let fold = 0; fold < Contender.folds; fold++) {
      const turn = turns.get(Contender) ?? 0;
      turns.set(Contender, turn + 1);
      took.push(await held.get(Contender).fold(received(event(turn))));
    }
    return median(took);
  };
  results.push([what, await compare(play)]);
}

const report = [];
for (const [what, rounds] of results) {
  process.stdout.write(`${what}\n`);
  const ours = rounds.get(Hook);
  for (const [{ label }, milliseconds] of rounds) {
    const ratio = median(milliseconds.map((value, round) => value / ours[round]));
    report.push({ what, contender: label, milliseconds, ratio });
    const [took, times] = [median(milliseconds).toFixed(2), ratio.toFixed(1)];
    process.stdout.write(`  ${label.padEnd(22)} ${took.padStart(8)} ms ${times.padStart(8)}\n`);
  }
  if (median(ours) > (LIMITS[what] ?? Infinity)) {
    process.stderr.write(`${what}: more than ${LIMITS[what]} ms\n`);
    process.exitCode = 1;
  }
}
await mkdir(new URL(".", REPORT), { recursive: true });
await writeFile(REPORT, `${JSON.stringify(report, null, 2)}\n`);
