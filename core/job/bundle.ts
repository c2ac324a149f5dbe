// Runs Bun's bundler over the job's files, one bundle per role, and composes the source maps, so that stack traces show the
// user's own lines.

import { basename, resolve } from "node:path";
import remapping, { type EncodedSourceMap } from "@jridgewell/remapping";
import type { BunPlugin } from "bun";
import type { NativeAddons } from "./native-addons.ts";
import type { OwnFiles } from "./own-files.ts";
import { REGISTRY_MODULE, type Role } from "./rewrite.ts";

/** One bundle's text, or what the bundler said against it. */
export interface Bundled {
  text: string | undefined;
  messages: readonly (BuildMessage | ResolveMessage)[];
  /** Names of files that would have to lie beside the bundle. */
  assets: readonly string[];
}

export interface BundleOptions {
  script: string;
  role: Role;
  files: OwnFiles;
  apiExports: readonly string[];
  addons: NativeAddons;
}

const NAMESPACE = "mesh";
// Bun's own regular expressions decide which files are handed to JavaScript at all: packages never are.
const OWN_FILES = /^(?!.*[/\\]node_modules[/\\]).*\.[cm]?[jt]sx?$/;

export async function bundle(options: BundleOptions): Promise<Bundled> {
  const built = await Bun.build({
    entrypoints: [options.script],
    target: "bun",
    format: "esm",
    sourcemap: "external",
    // Left to itself Bun writes the value of the building process into the bundle.
    define: { "process.env.NODE_ENV": "process.env.NODE_ENV" },
    throw: false,
    plugins: [plugin(options)],
  });
  if (!built.success) return { text: undefined, messages: built.logs, assets: [] };
  const output = built.outputs.find((artifact) => artifact.kind === "entry-point")!;
  const assets = built.outputs.filter((artifact) => artifact.kind === "asset").map(({ path }) => basename(path));
  const [text, map] = await Promise.all([output.text(), output.sourcemap!.json()]);
  return { text: withInlineMap(text, compose(map, options)), messages: [], assets };
}

function plugin({ script, role, files, apiExports, addons }: BundleOptions): BunPlugin {
  return {
    name: "mesh-job",
    setup(build) {
      build.onResolve({ filter: /^mesh(:registry)?$/ }, ({ path }) => ({ path, namespace: NAMESPACE }));
      build.onLoad({ filter: /.*/, namespace: NAMESPACE }, ({ path }) => ({
        contents: path === REGISTRY_MODULE ? registryModule() : apiModule(apiExports),
        loader: "js",
      }));
      build.onResolve({ filter: /\.node$/ }, ({ path, importer }) => addons.resolve(path, importer));
      build.onLoad({ filter: /\.node$/ }, ({ path }) => ({ contents: addons.load(path), loader: "js" }));
      const load = ({ path }: { path: string }) => ({ contents: files.load(path, role).text, loader: loaderOf(path) });
      build.onLoad({ filter: new RegExp(`^${escapeRegExp(script)}$`) }, load);
      build.onLoad({ filter: OWN_FILES }, load);
    },
  };
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
}

function loaderOf(path: string): "ts" | "tsx" | "js" | "jsx" {
  if (/\.[cm]?ts$/.test(path)) return "ts";
  if (path.endsWith(".tsx")) return "tsx";
  return path.endsWith(".jsx") ? "jsx" : "js";
}

function registryModule(): string {
  return 'export const registry = globalThis[Symbol.for("mesh.registry")];';
}

function apiModule(apiExports: readonly string[]): string {
  const lines = apiExports.map((name) => `export const ${name} = api.${name};`);
  return `const api = globalThis[Symbol.for("mesh.api")];\n${lines.join("\n")}\n`;
}

interface BunSourceMap {
  version: 3;
  sources: string[];
  sourcesContent: (string | null)[];
  names: string[];
  mappings: string;
}

/** From the bundle's lines to the user's: through Bun's map, then through ours where we changed the file. */
function compose(map: BunSourceMap, { files, role }: BundleOptions): EncodedSourceMap {
  // Bun names sources relative to the current folder.
  const sources = map.sources.map((source) => (source.startsWith(`${NAMESPACE}:`) ? source : resolve(source)));
  const given: EncodedSourceMap = { version: 3, sources, names: map.names, mappings: map.mappings };
  const composed = remapping(given, (source, { depth }) => {
    // The original of an edited file has the same name as the file; there the search ends.
    const ours = depth === 1 ? files.loaded(source, role)?.map : undefined;
    return ours ? { ...ours, version: 3, file: source } : null;
  });
  return {
    version: 3,
    sources: composed.sources,
    // With their text, so that other machines can show the line; packages would only add weight.
    sourcesContent: composed.sources.map((source) => (source && files.source(source)) ?? null),
    names: composed.names,
    mappings: composed.mappings as string,
  };
}

function withInlineMap(text: string, map: EncodedSourceMap): string {
  const body = text.replace(/\n*\/\/# debugId=.*\n*$/, "\n");
  const encoded = Buffer.from(JSON.stringify(map)).toString("base64");
  return `${body}//# sourceMappingURL=data:application/json;base64,${encoded}\n`;
}
