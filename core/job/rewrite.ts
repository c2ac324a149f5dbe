// Turns the analysis of one file into the text the bundler reads: the file with its functions registered where they stand,
// and factories of the extracted ones at its end. The script's two texts come from here too; see worker-script.ts.

import { dirname } from "node:path";
import { pathToFileURL } from "node:url";
import { type Analysis, accessorPlace, type Shipment, type TopLevelCode } from "./analysis.ts";
import { classEdits } from "./classes.ts";
import { Edits, join, type Piece, type Rendered } from "./edits.ts";
import type { Binding, Module } from "./module.ts";
import { identifierName, isClass, isMember, type Node, propertyName, unwrap } from "./syntax.ts";

export type Role = "driver" | "worker";

/** The virtual module through which generated code reaches the registry. */
export const REGISTRY_MODULE = "mesh:registry";

/** What every part of the rewriting of one file shares. */
export interface Rewriting {
  readonly analysis: Analysis;
  readonly module: Module;
  readonly role: Role;
  /** The name generated code uses for the registry; not used in the file. */
  readonly registry: string;
  readonly edits: Edits;
  /** Registrations that follow a module-level statement. */
  readonly after: Map<Node, string>;
  /** Functions that read a variable where another of its name hides it. */
  readonly accessors: Map<Binding, string>;
}

/** Prepares all edits of a file. */
export function startRewriting(analysis: Analysis, role: Role): Rewriting {
  const { module } = analysis;
  const rewriting: Rewriting = {
    analysis,
    module,
    role,
    registry: unusedName(module.source),
    edits: new Edits(module.source),
    after: new Map(),
    accessors: new Map(),
  };
  addAccessors(rewriting);
  for (const shipment of analysis.shipments) editShipment(rewriting, shipment);
  for (const { node, id } of analysis.expressions) {
    rewriting.edits.wrap(node, `${rewriting.registry}.ref(`, `, ${quote(id)})`);
  }
  for (const code of analysis.topLevel) editTopLevel(rewriting, code);
  editFileNames(rewriting);
  rewriting.edits.seal();
  return rewriting;
}

function addAccessors({ analysis, accessors, edits, registry }: Rewriting): void {
  const hidden = new Set(analysis.shipments.flatMap((shipment) => [...shipment.hidden]));
  for (const binding of hidden) {
    const name = `${registry}_a${accessors.size}`;
    accessors.set(binding, name);
    edits.insert(accessorPlace(binding) ?? 0, accessor(name, binding));
  }
}

function accessor(name: string, binding: Binding): string {
  return ` const ${name} = () => ${binding.name};`;
}

/** The text of an own file as it stands, with registrations; undefined when nothing in it needs any. */
export function renderWhole(rewriting: Rewriting): Rendered | undefined {
  const { module, edits, after } = rewriting;
  const header = headerOf(rewriting);
  if (edits.size === 0 && after.size === 0 && header === "") return undefined;
  const first = (module.program.body as Node[])[0];
  const start = first?.start ?? module.source.length;
  const pieces: Piece[] = [edits.piece({ start: 0, end: start }), header];
  let position = start;
  for (const [statement, text] of [...after].sort(([a], [b]) => a.end - b.end)) {
    pieces.push(edits.piece({ start: position, end: statement.end }), text);
    position = statement.end;
  }
  pieces.push(edits.piece({ start: position, end: module.source.length }), ...factoriesOf(rewriting));
  return join(module.file, pieces);
}

function unusedName(source: string): string {
  let name = "$mesh";
  for (let i = 1; source.includes(name); i++) name = `$mesh${i}`;
  return name;
}

export function quote(text: string): string {
  return JSON.stringify(text);
}

/** The import of the registry and all that is registered before the file's own code runs; on one line. */
export function headerOf(rewriting: Rewriting): string {
  const { analysis, registry } = rewriting;
  const parts: string[] = [];
  const entries = [
    ...analysis.shipments.map(({ id }, index) => `${quote(id)}: ${factoryName(rewriting, index)}`),
    ...analysis.expressions.map(({ node, id }) => {
      return `${quote(id)}: () => ${rewriting.module.source.slice(node.start, node.end)}`;
    }),
  ];
  if (entries.length > 0) parts.push(`${registry}.factories({ ${entries.join(", ")} });`);
  const accesses = capturedData(analysis).map((binding) => envAccess(rewriting, binding));
  if (accesses.length > 0) parts.push(`${registry}.env({ ${accesses.join(", ")} });`);
  for (const code of analysis.topLevel) {
    if (code.code.type === "FunctionDeclaration") parts.push(`${topCall(rewriting, code, topName(rewriting, code))};`);
  }
  if (parts.length === 0 && analysis.topLevel.length === 0) return "";
  return `import { registry as ${registry} } from ${quote(REGISTRY_MODULE)}; ${parts.join(" ")} `;
}

/** All of the script's data that anything registered captures. */
function capturedData({ shipments, topLevel }: Analysis): Binding[] {
  const found = new Set<Binding>();
  for (const { captures } of shipments) for (const binding of captures.data) found.add(binding);
  for (const { data } of topLevel) for (const binding of data) found.add(binding);
  return [...found];
}

function envAccess({ role, registry }: Rewriting, { name }: Binding): string {
  const value = `${registry}_value`;
  return role === "driver"
    ? `${quote(name)}: [() => ${name}]`
    : `${quote(name)}: [() => ${name}, (${value}) => { ${name} = ${value}; }]`;
}

function editTopLevel(rewriting: Rewriting, top: TopLevelCode): void {
  const { edits, registry, module } = rewriting;
  const { code, binding } = top;
  if (isClass(code)) classEdits(edits, registry, code, top.id);
  if (code.type.endsWith("Declaration")) {
    if (!code.id) edits.insert(nameSlot(module, code), ` ${registry}_default `);
    if (isClass(code)) {
      rewriting.after.set(statementOf(module, code), ` ${topCall(rewriting, top, topName(rewriting, top))};`);
    }
    return;
  }
  const [before, after] = named(module, code, binding?.name ?? "default");
  edits.wrap(code, `${registry}.top(${before}`, `${after}${topArguments(top)})`);
}

function topName({ registry }: Rewriting, { code, binding }: TopLevelCode): string {
  return binding?.name ?? (code.id?.name as string | undefined) ?? `${registry}_default`;
}

function topCall({ registry }: Rewriting, top: TopLevelCode, name: string): string {
  return `${registry}.top(${name}${topArguments(top)})`;
}

function topArguments({ id, data, reason }: TopLevelCode): string {
  return argumentsText(id, nameList(data), reason === undefined ? "0" : quote(reason));
}

/** Further arguments after the function, without the trailing ones that are 0. */
function argumentsText(id: string, ...rest: string[]): string {
  const used = [...rest];
  while (used.at(-1) === "0") used.pop();
  return [", ", [quote(id), ...used].join(", ")].join("");
}

function nameList(bindings: Iterable<Binding>): string {
  const names = [...bindings].map(({ name }) => quote(name));
  return names.length === 0 ? "0" : `[${names.join(", ")}]`;
}

/** Where the missing name of `export default function () {}` goes. */
function nameSlot(module: Module, code: Node): number {
  const start = code.decorators?.at(-1)?.end ?? code.start;
  const keywords = isClass(code) ? /(?:\s|abstract)*class/y : /(?:async\s+)?function\s*\*?/y;
  keywords.lastIndex = start;
  keywords.exec(module.source);
  return keywords.lastIndex;
}

/** The module-level statement that holds a node. */
export function statementOf(module: Module, node: Node): Node {
  let current = node;
  for (let parent = module.parents.get(node); parent && parent !== module.program; ) {
    current = parent;
    parent = module.parents.get(current);
  }
  return current;
}

/**
 * Text around a function that keeps the name it gets from the variable it initialises: `{ f: () => 1 }.f`.
 * A call around it alone would take the name away.
 */
function named(module: Module, code: Node, name: string): [before: string, after: string] {
  let holder = module.parents.get(code);
  while (holder && unwrap(holder) === code) holder = module.parents.get(holder);
  const namesIt = holder?.type === "VariableDeclarator" || holder?.type === "ExportDefaultDeclaration";
  if (!namesIt || code.id) return ["", ""];
  return name === "__proto__" ? ['{ ["__proto__"]: ', " }.__proto__"] : [`{ ${name}: `, ` }.${name}`];
}

function editShipment(rewriting: Rewriting, shipment: Shipment): void {
  const { module, edits, registry } = rewriting;
  const { code, binding } = shipment;
  if (!code.type.endsWith("Declaration")) {
    const [before, after] = named(module, code, binding?.name ?? "");
    edits.wrap(code, `${registry}.fn(${before}`, `${after}${shipmentArguments(rewriting, shipment)})`);
  } else if (isClass(code)) {
    edits.insert(code.end, ` ${registration(rewriting, shipment)}`);
  } else {
    edits.insert(hoistingPlace(module, code), ` ${registration(rewriting, shipment)}`);
  }
}

function registration(rewriting: Rewriting, shipment: Shipment): string {
  return `${rewriting.registry}.fn(${shipment.binding!.name}${shipmentArguments(rewriting, shipment)});`;
}

function shipmentArguments(rewriting: Rewriting, { id, captures, hidden }: Shipment): string {
  const locals = orderedLocals(captures.locals).map((local) =>
    hidden.has(local) ? `${rewriting.accessors.get(local)}()` : local.name,
  );
  const names = nameList(orderedLocals(captures.locals));
  return argumentsText(id, locals.length === 0 ? "0" : `() => [${locals.join(", ")}]`, nameList(captures.data), names);
}

/** Where code runs that has to run before anything can use a function declared in a block: at the block's start. */
function hoistingPlace(module: Module, declaration: Node): number {
  const block = module.parents.get(declaration)!;
  if (block.type !== "BlockStatement") return declaration.start;
  return block.directives?.at(-1)?.end ?? block.start + 1;
}

/** Outer scopes first, as factories declare them. */
function orderedLocals(locals: Iterable<Binding>): Binding[] {
  return [...locals].sort((a, b) => a.scope.start - b.scope.start || b.scope.end - a.scope.end);
}

function factoryName({ registry }: Rewriting, index: number): string {
  return `${registry}_f${index}`;
}

/** Functions at the file's end that make each extracted function from its captured values. */
export function factoriesOf(rewriting: Rewriting): Piece[] {
  return rewriting.analysis.shipments.flatMap((shipment, index) => [
    "\n",
    ...factoryPieces(rewriting, shipment, factoryName(rewriting, index)),
  ]);
}

/**
 * `function f(v0, v1) { const a = v0; { const b = v1; function helper() {…} return <the function>; } }`: a block for each
 * scope it captures from, so that names mean what they meant where the function was written.
 */
function factoryPieces(rewriting: Rewriting, shipment: Shipment, name: string): Piece[] {
  const { captures, code, binding } = shipment;
  const locals = orderedLocals(captures.locals);
  const parameter = (index: number) => `${rewriting.registry}_v${index}`;
  const pieces: Piece[] = [`function ${name}(${locals.map((_, index) => parameter(index)).join(", ")}) {`];
  const scopes = scopesOf([...locals, ...captures.helpers]);
  for (const scope of scopes) {
    pieces.push(" {");
    locals.forEach((local, index) => {
      if (local.scope !== scope) return;
      const reader = rewriting.accessors.get(local);
      pieces.push(` const ${local.name} = ${parameter(index)};`, reader ? accessor(reader, local) : "");
    });
    for (const helper of helpersOf(captures.helpers, scope)) pieces.push(" ", ...helperPieces(rewriting, helper));
  }
  if (binding && captures.helpers.has(binding)) pieces.push(` return ${binding.name};`);
  else pieces.push(" return (", rewriting.edits.piece(code, true), ");");
  pieces.push(" }".repeat(scopes.length + 1));
  return pieces;
}

function scopesOf(bindings: Binding[]): Node[] {
  return [...new Set(bindings.map(({ scope }) => scope))].sort((a, b) => a.start - b.start || b.end - a.end);
}

function helpersOf(helpers: Set<Binding>, scope: Node): Binding[] {
  return [...helpers]
    .filter((helper) => helper.scope === scope)
    .sort((a, b) => a.declaration.start - b.declaration.start);
}

function helperPieces(rewriting: Rewriting, helper: Binding): Piece[] {
  const { declaration } = helper;
  if (declaration.type === "VariableDeclarator") {
    return [`const ${helper.name} = `, rewriting.edits.piece(declaration.init!), ";"];
  }
  const own = rewriting.analysis.shipments.find(({ code }) => code === declaration);
  return [rewriting.edits.piece(declaration, true), own ? ` ${registration(rewriting, own)}` : ""];
}

/** `import.meta.url` and its like name the file as it was written, not the bundle. */
function editFileNames(rewriting: Rewriting): void {
  const { module, edits } = rewriting;
  for (const node of module.nodes) {
    if (isMember(node) && isImportMeta(unwrap(node.object!))) {
      const value = fileName(rewriting, propertyName(node));
      if (value !== undefined) edits.replace(node, value);
    } else if (isFreeFileName(module, node)) {
      const value = quote(node.name === "__dirname" ? dirname(module.file) : module.file);
      edits.replace(node, isShorthand(module.parents.get(node)) ? `${node.name}: ${value}` : value);
    }
  }
}

function isImportMeta(node: Node): boolean {
  return node.type === "MetaProperty" && identifierName(node.meta) === "import";
}

function fileName({ module, role }: Rewriting, property: string | undefined): string | undefined {
  switch (property) {
    case "url":
      return quote(pathToFileURL(module.file).href);
    case "dir":
    case "dirname":
      return quote(dirname(module.file));
    case "path":
    case "filename":
      return quote(module.file);
    case "file":
      return quote(module.file.slice(dirname(module.file).length).replace(/^[/\\]/, ""));
    case "main":
      return String(module.isScript && role === "driver");
    default:
      return undefined;
  }
}

function isFreeFileName(module: Module, node: Node): boolean {
  const name = identifierName(node);
  if ((name !== "__dirname" && name !== "__filename") || module.bindingOf.has(node)) return false;
  const parent = module.parents.get(node)!;
  if (isMember(parent) && parent.property === node && !parent.computed) return false;
  return !(parent.key === node && !parent.computed);
}

function isShorthand(parent: Node | undefined): boolean {
  return parent?.type === "ObjectProperty" && (parent as { shorthand?: boolean }).shorthand === true;
}
