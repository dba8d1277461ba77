import { preset as clientPreset } from "@graphql-codegen/client-preset";
import {
  normalizeImportExtension,
  type CodegenPlugin,
  type Types,
} from "@graphql-codegen/plugin-helpers";
import { buildASTSchema } from "graphql";
import { checkDocuments } from "./documents.js";
import { findChannels } from "./introspect.js";
import { HEADER, channelModules } from "./modules.js";
import { SCALARS, scalarTypes, type ScalarsConfig } from "./scalars.js";
import { urlExpression, websocketModule } from "./websocket.js";

/** What `presetConfig` takes beside client-preset's own options. */
export interface PresetConfig {
  /** `RX_WEBSOCKET_URL` of the Django project. Default: "/graphql/" */
  websocketUrl?: string;
  /** The Django app of a channel by its field, `{ chatRoom: "chat" }`, for a schema that came by introspection. */
  apps?: Record<string, string>;
  /** An option of client-preset. Here it is off by default: the types of documents are what they select. */
  fragmentMasking?: boolean | { unmaskFunctionName?: string };
  [option: string]: unknown;
}

const CONFIG = {
  defaultScalarType: "unknown",
  enumType: "string-literal",
  immutableTypes: true,
  useTypeImports: true,
};

/**
 * client-preset and the channels: the output is a folder, with a typed document of every operation, a module of channels
 * for each Django app, and the socket's address.
 */
export const preset: Types.OutputPreset<PresetConfig> = {
  prepareDocuments: (folder, documents) => [...documents, `!${folder}**`],

  async buildGeneratesSection(options) {
    const schema = options.schemaAst ?? buildASTSchema(options.schema);
    const found = findChannels(schema);
    checkDocuments(schema, options.documents, found.map);
    const { websocketUrl = "/graphql/", apps = {}, ...presetConfig } = options.presetConfig ?? {};
    const config = {
      ...CONFIG,
      ...options.config,
      scalars: withOurs(options.config["scalars"] as ScalarsConfig | string | undefined),
    };
    const sections = await clientPreset.buildGeneratesSection({
      ...options,
      config,
      presetConfig: { fragmentMasking: false, ...presetConfig, skipIndexFile: true },
    });
    const extension = normalizeImportExtension({
      emitLegacyCommonJSImports: options.config["emitLegacyCommonJSImports"] as boolean | undefined,
      importExtension: options.config["importExtension"] as "" | `.${string}` | undefined,
    });
    const channels = channelModules(schema, found, {
      scalars: scalarTypes(
        typeof config.scalars === "string" ? {} : config.scalars,
        String(config.defaultScalarType),
      ),
      extension,
      apps,
      url: urlExpression(websocketUrl),
    });
    const modules = new Map(channels.modules);
    modules.set("websocket", `${HEADER}\n${websocketModule(websocketUrl)}`);
    const folder = options.baseOutputDir;
    const shared = sections
      .map(({ filename }) => filename.slice(folder.length))
      .filter((filename) => filename.endsWith(".ts"))
      .map((filename) => filename.slice(0, -".ts".length));
    const index = [...shared, "websocket"]
      .sort()
      .map((name) => `export * from "./${name}${extension}";\n`);
    modules.set("index", `${HEADER}\n${index.join("")}${channels.exports}`);
    return [
      ...sections.map((section) => ({ ...section, pluginMap: polished(section.pluginMap) })),
      ...[...modules].map(([name, content]) => ({
        filename: `${folder}${name}.ts`,
        plugins: [{ rxgraphql: {} }],
        pluginMap: { rxgraphql: { plugin: () => content } },
        schema: options.schema,
        config: {},
        documents: [],
        documentTransforms: options.documentTransforms ?? [],
      })),
    ];
  },
};

function withOurs(scalars: ScalarsConfig | string | undefined): ScalarsConfig | string {
  return typeof scalars === "string" ? scalars : { ...SCALARS, ...scalars };
}

function polished(plugins: Record<string, CodegenPlugin>): Record<string, CodegenPlugin> {
  return Object.fromEntries(
    Object.entries(plugins).map(([name, plugin]) => [
      name,
      {
        ...plugin,
        plugin: async (...args: Parameters<CodegenPlugin["plugin"]>) => {
          const output = await plugin.plugin(...args);
          if (typeof output === "string") return polish(output);
          const { prepend = [], content } = output;
          // null where a plugin has nothing to say
          const lines = prepend.map((line) => line && polish(line));
          return { ...output, prepend: lines, content: content && polish(content) };
        },
      },
    ]),
  );
}

/**
 * client-preset's own helpers use `any`, which a strict project's linter refuses even in generated files; they import what
 * they don't use while there is no document, and a package that strict installers don't let a project see.
 */
function polish(content: string): string {
  return (
    /^const documents = {};$/m.test(content)
      ? content.replace(/^import \* as types from .*\n/m, "")
      : content
  )
    .replace("(documents as any)", "(documents as Record<string, unknown>)")
    .replace("DocumentNode<any, any>", "DocumentNode<unknown, never>")
    .replace(/(DocumentNode<\s*infer TType,\s*)any\s*>/, "$1never>")
    .replace(/(["'])@graphql-typed-document-node\/core\1/, "$1@rxgraphql/client$1");
}
