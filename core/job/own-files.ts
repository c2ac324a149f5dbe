// Loads the user's own files: reads, parses and analyses each once, and gives the bundler the text for each of the two
// bundles. Collects what is wrong on the way.

import { readFileSync } from "node:fs";
import { dirname, relative } from "node:path";
import { nearest } from "../nearest.ts";
import { type Analysis, analyse } from "./analysis.ts";
import type { Diagnostic } from "./diagnostics.ts";
import type { Rendered } from "./edits.ts";
import { analyseModule, importOf, type Module } from "./module.ts";
import { parseSource } from "./parse.ts";
import { type Role, renderWhole, startRewriting } from "./rewrite.ts";
import type { Node } from "./syntax.ts";
import { renderWorkerScript } from "./worker-script.ts";

/** A file's text as the bundler gets it; without a map when it is the user's text unchanged. */
export interface LoadedFile {
  text: string;
  map: Rendered["map"] | undefined;
}

interface OwnFile {
  source: string;
  analysis: Analysis | undefined;
  /** Texts by role; imported modules have one for both. */
  texts: Map<Role | "both", LoadedFile>;
}

/** A place of an import in a file. */
export interface ImportPlace {
  line: number;
  column: number;
}

export class OwnFiles {
  /** What is wrong with the files. */
  readonly problems: Diagnostic[] = [];
  /** Functions that cannot travel. */
  readonly refusals: Diagnostic[] = [];
  usesMesh = false;
  readonly #files = new Map<string, OwnFile>();
  readonly #script: string;
  readonly #apiExports: readonly string[];

  constructor(script: string, apiExports: readonly string[]) {
    this.#script = script;
    this.#apiExports = apiExports;
  }

  /** The text of a file for one of the bundles. */
  load(file: string, role: Role): LoadedFile {
    const own = this.#open(file);
    const key = file === this.#script ? role : "both";
    let text = own.texts.get(key);
    if (!text) {
      text = this.#render(own, file, role);
      own.texts.set(key, text);
    }
    return text;
  }

  /** The text a file was given to the bundler as, to translate positions; undefined for files not loaded here. */
  loaded(file: string, role: Role): LoadedFile | undefined {
    const texts = this.#files.get(file)?.texts;
    return texts?.get(role) ?? texts?.get("both");
  }

  source(file: string): string | undefined {
    return this.#files.get(file)?.source;
  }

  /** Where a file imports something, when it was parsed. */
  findImport(file: string, specifier: string): ImportPlace | undefined {
    const module = this.#files.get(file)?.analysis?.module;
    const found = module?.nodes.find(
      (node) => node.type === "StringLiteral" && node.value === specifier && isImportSource(module, node),
    );
    return found && { line: found.loc.start.line, column: found.loc.start.column + 1 };
  }

  #open(file: string): OwnFile {
    let own = this.#files.get(file);
    if (!own) {
      own = this.#read(file);
      this.#files.set(file, own);
    }
    return own;
  }

  #read(file: string): OwnFile {
    const source = readFileSync(file, "utf8").replace(/^\uFEFF/, "");
    const own: OwnFile = { source, analysis: undefined, texts: new Map() };
    const isScript = file === this.#script;
    if (!isScript && !mayNeedRewriting(file, source)) return own;
    const module = this.#analyse(file, source);
    if (!module) return own;
    if (!isModuleSyntax(module)) return own;
    own.analysis = analyse(module);
    this.refusals.push(...own.analysis.diagnostics);
    this.#checkMeshImports(module);
    return own;
  }

  /** Parses a file and resolves its names; undefined, with a problem noted, when that fails. */
  #analyse(file: string, source: string): Module | undefined {
    const parsed = parseSource(file, source);
    if ("message" in parsed) {
      this.problems.push(parsed);
      return undefined;
    }
    const name = relative(dirname(this.#script), file).replaceAll("\\", "/");
    try {
      return analyseModule(parsed.tree, { file, source, name, isScript: file === this.#script });
    } catch (error) {
      // A name declared twice, most likely, which the parser has noted with its place.
      if (parsed.doubts.length === 0) throw error;
      this.problems.push(...parsed.doubts);
      return undefined;
    }
  }

  #render(own: OwnFile, file: string, role: Role): LoadedFile {
    const isWorkerScript = file === this.#script && role === "worker";
    if (!own.analysis) return { text: isWorkerScript ? "export {};\n" : own.source, map: undefined };
    const rewriting = startRewriting(own.analysis, role);
    const rendered = isWorkerScript ? renderWorkerScript(rewriting) : renderWhole(rewriting);
    return rendered ?? { text: own.source, map: undefined };
  }

  /** Reports names that "mesh" does not export, unless only types use them. */
  #checkMeshImports(module: Module): void {
    const used = new Set(module.references.map(({ binding }) => binding));
    for (const binding of module.topLevel.values()) {
      const imported = importOf(module, binding);
      if (imported?.from !== "mesh" || imported.typeOnly) continue;
      this.usesMesh = true;
      if (imported.name === "*" || this.#apiExports.includes(imported.name)) continue;
      if (!used.has(binding) && /\.[cm]?tsx?$/.test(module.file)) continue;
      const { line, column } = binding.declaration.loc.start;
      this.problems.push({
        file: module.file,
        line,
        column: column + 1,
        variable: binding.name,
        message: missingExport(imported.name, this.#apiExports),
      });
    }
  }
}

function missingExport(name: string, apiExports: readonly string[]): string {
  if (name === "default") {
    return '"mesh" has no default export: write `import { pool } from "mesh"` or `import * as mesh from "mesh"`';
  }
  const near = nearest(name, apiExports);
  const hint = near ? `did you mean \`${near}\`?` : `it exports ${[...apiExports].sort().join(", ")}`;
  return `"mesh" has no export \`${name}\`: ${hint}`;
}

/** A cheap look at the text, so that files of mere data are never parsed. */
function mayNeedRewriting(file: string, source: string): boolean {
  if (/\.c[jt]s$/.test(file)) return false;
  return /\bfunction\b|=>|\bclass\b|\bimport\.meta\b|\b__(?:dir|file)name\b|["']mesh["']/.test(source);
}

/** CommonJS files stay as they are. A script without imports and exports is a module unless it uses CommonJS names. */
function isModuleSyntax(module: Module): boolean {
  const body = module.program.body as Node[];
  if (body.some((node) => /^(Import|Export)|^TSExportAssignment$/.test(node.type))) return true;
  return module.isScript && !/\.c[jt]s$/.test(module.file) && !/\bmodule\.exports\b|\bexports\./.test(module.source);
}

function isImportSource(module: Module, node: Node): boolean {
  const parent = module.parents.get(node);
  if (!parent) return false;
  if (/^(Import|Export)/.test(parent.type)) return parent.source === node;
  const callee = parent.arguments?.[0] === node ? parent.callee : undefined;
  return callee?.type === "Import" || callee?.name === "require";
}
