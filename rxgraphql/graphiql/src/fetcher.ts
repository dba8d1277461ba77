import type { Fetcher } from "@graphiql/toolkit";
import { createGraphiQLFetcher } from "@graphiql/toolkit";
import { type Config, websocketUrl } from "./config";

/**
 * Queries and mutations go by HTTP, subscriptions by a socket of their own, opened with what the headers pane
 * says at that moment as connection parameters.
 */
export function createFetcher(config: Config): Fetcher {
  return createGraphiQLFetcher({
    url: config.url,
    subscriptionUrl: websocketUrl(config.url, window.location),
    headers: { [config.csrfHeader]: config.csrfToken },
    enableIncrementalDelivery: false,
  });
}
