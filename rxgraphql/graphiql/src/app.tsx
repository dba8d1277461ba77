import "graphiql/setup-workers/vite";
import "graphiql/style.css";
import "@graphiql/plugin-explorer/style.css";
import "./page.css";

import { explorerPlugin } from "@graphiql/plugin-explorer";
import { HISTORY_PLUGIN } from "@graphiql/plugin-history";
import { GraphiQL } from "graphiql";
import { createRoot } from "react-dom/client";
import { readConfig } from "./config";
import { createFetcher } from "./fetcher";
import { welcomeDocument } from "./welcome";

const container = document.getElementById("graphiql");
if (!container) throw new Error('The page has no <div id="graphiql">.');

const config = readConfig(document);
createRoot(container).render(
  <GraphiQL
    fetcher={createFetcher(config)}
    plugins={[explorerPlugin({ showAttribution: false }), HISTORY_PLUGIN]}
    defaultQuery={await welcomeDocument(config)}
    defaultEditorToolsVisibility="headers"
    inputValueDeprecation
  >
    <GraphiQL.Logo>rxgraphql</GraphiQL.Logo>
  </GraphiQL>,
);
