// One of the user's own files with its names resolved: which variable each identifier means, and where each is written.
// Everything after it works with these flat lists and source ranges and needs no Babel.

import babelTraverse, { type BabelBinding, type BabelScope } from "@babel/traverse";
import {
  children,
  identifierName,
  isClass,
  isFunction,
  isMember,
  type Node,
  patternIdentifiers,
  unwrap,
  within,
} from "./syntax.ts";

/** A variable: one declaration, whatever its name. */
export interface Binding {
  readonly name: string;
  /** What declares it: a VariableDeclarator, a function, class or import specifier, or the parameter's pattern. */
  readonly declaration: Node;
  /** The node whose scope it belongs to; the Program for module-level names. */
  readonly scope: Node;
  /** "module" for imports, "param", "const", "let", "var", "hoisted", "local". */
  readonly kind: string;
  /** Values assigned after the declaration, undefined for those not plainly visible. */
  readonly assigned: (Node | undefined)[];
}

/** One place where a variable's value is read or written. */
export interface Reference {
  readonly node: Node;
  readonly binding: Binding;
  readonly write: boolean;
}

/**
 * A place where `this`, `super`, `arguments`, `new.target` or a `#private` name stands, and the node that gives it its
 * meaning.
 */
export interface ThisUse {
  readonly node: Node;
  readonly what: string;
  readonly owner: Node;
}

export interface Module {
  readonly file: string;
  readonly source: string;
  /** Path relative to the script's folder, with forward slashes: the first part of ids. */
  readonly name: string;
  readonly isScript: boolean;
  readonly program: Node;
  /** In source order. */
  readonly references: readonly Reference[];
  readonly bindings: readonly Binding[];
  readonly bindingOf: ReadonlyMap<Node, Binding>;
  readonly topLevel: ReadonlyMap<string, Binding>;
  readonly parents: ReadonlyMap<Node, Node>;
  /** All code nodes in source order. */
  readonly nodes: readonly Node[];
  readonly thisUses: readonly ThisUse[];
}

/** Resolves the names of a parsed file. */
export function analyseModule(tree: Node, about: Pick<Module, "file" | "source" | "name" | "isScript">): Module {
  const traverse = babelTraverse.default ?? babelTraverse;
  // Entering the program makes Babel collect all scopes; its own walk is not needed after that.
  traverse(tree, { Program: (path) => path.skip() });
  const program = (tree as unknown as { program: Node }).program;
  const walk = walkModule(program);
  const names = resolve(bindingsOf(walk.nodes, traverse.cache.scope));
  const references = [...names.references.values()]
    .filter(({ node }) => walk.parents.has(node))
    .sort((a, b) => a.node.start - b.node.start);
  const topLevel = new Map<string, Binding>();
  for (const binding of names.bindings) if (binding.scope === program) topLevel.set(binding.name, binding);
  return { ...about, program, references, topLevel, ...walk, bindings: names.bindings, bindingOf: names.bindingOf };
}

/** The bindings of all scopes. A class's name stands in two of them; it counts where it belongs. */
function bindingsOf(nodes: readonly Node[], scopes: WeakMap<object, BabelScope>): BabelBinding[] {
  const found: BabelBinding[] = [];
  for (const node of nodes) {
    const scope = scopes.get(node);
    if (!scope) continue;
    for (const binding of Object.values(scope.bindings)) if (binding.scope === scope) found.push(binding);
  }
  return found;
}

/** The references whose node lies inside `range`, found by position. */
export function referencesIn(module: Module, range: { start: number; end: number }): Reference[] {
  const all = module.references;
  let low = 0;
  let high = all.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (all[middle]!.node.start < range.start) low = middle + 1;
    else high = middle;
  }
  const found: Reference[] = [];
  for (let i = low; i < all.length && all[i]!.node.start < range.end; i++) found.push(all[i]!);
  return found;
}

function resolve(babelBindings: BabelBinding[]) {
  const references = new Map<Node, Reference>();
  const bindingOf = new Map<Node, Binding>();
  const bindings: Binding[] = [];
  for (const found of babelBindings) {
    const declaration = found.path.node as Node;
    const isAmbient = declaration.declare === true || (found.path.parent as Node | undefined)?.declare === true;
    if (isAmbient) continue;
    const assigned: (Node | undefined)[] = [];
    const binding: Binding = {
      name: (found.identifier as Node).name as string,
      declaration,
      scope: found.scope.block as Node,
      kind: found.kind,
      assigned,
    };
    bindings.push(binding);
    bindingOf.set(found.identifier as Node, binding);
    for (const path of found.referencePaths) {
      const node = path.node as Node;
      if (node.type !== "Identifier" && node.type !== "JSXIdentifier") continue;
      references.set(node, { node, binding, write: false });
      bindingOf.set(node, binding);
    }
    for (const path of found.constantViolations) {
      for (const node of writtenIdentifiers(path.node as Node)) {
        if (node.name !== binding.name) continue;
        references.set(node, { node, binding, write: true });
        bindingOf.set(node, binding);
        assigned.push(assignedValue(path.node as Node));
      }
    }
  }
  return { references, bindingOf, bindings };
}

function writtenIdentifiers(node: Node): Node[] {
  switch (node.type) {
    case "AssignmentExpression":
    case "ForInStatement":
    case "ForOfStatement":
      return node.left!.type === "VariableDeclaration" ? [] : patternIdentifiers(node.left!);
    case "UpdateExpression":
      return patternIdentifiers(node.argument!);
    case "VariableDeclarator": // a second `var` of the same name
      return patternIdentifiers(node.id!);
    default:
      return [];
  }
}

function assignedValue(node: Node): Node | undefined {
  if (node.type === "AssignmentExpression" && node.operator === "=" && node.left!.type === "Identifier")
    return node.right;
  if (node.type === "VariableDeclarator" && node.id!.type === "Identifier") return node.init ?? undefined;
  return undefined;
}

function walkModule(program: Node) {
  const nodes: Node[] = [];
  const parents = new Map<Node, Node>();
  const thisUses: ThisUse[] = [];
  const visit = (node: Node, owner: Node) => {
    nodes.push(node);
    const what = thisName(node, parents.get(node));
    if (what) thisUses.push({ node, what, owner });
    const declaring = node.type === "PrivateName" ? declaringClass(node, parents) : undefined;
    if (declaring) thisUses.push({ node, what: `#${identifierName(node.id)}`, owner: declaring });
    const inner = node.type !== "ArrowFunctionExpression" && isFunction(node) ? node : owner;
    for (const child of children(node)) {
      parents.set(child, node);
      visit(child, isOwnedByMember(node, child) ? child : inner);
    }
  };
  visit(program, program);
  return { nodes, parents, thisUses };
}

/** Field initialisers and static blocks have a `this` of their own. */
function isOwnedByMember(member: Node, child: Node): boolean {
  if (member.type === "StaticBlock") return true;
  return (
    (member.type === "ClassProperty" ||
      member.type === "ClassPrivateProperty" ||
      member.type === "ClassAccessorProperty") &&
    member.value === child
  );
}

/** The class whose `#name` this is. */
function declaringClass(name: Node, parents: ReadonlyMap<Node, Node>): Node | undefined {
  const isDeclaredIn = ({ body }: Node) =>
    ((body as Node).body as Node[]).some(
      ({ key }) => key?.type === "PrivateName" && identifierName(key.id) === identifierName(name.id),
    );
  let current = parents.get(name);
  while (current && !(isClass(current) && isDeclaredIn(current))) current = parents.get(current);
  return current;
}

function thisName(node: Node, parent: Node | undefined): string | undefined {
  if (node.type === "ThisExpression") return "this";
  if (node.type === "Super") return "super";
  if (node.type === "MetaProperty" && identifierName(node.meta) === "new") return "new.target";
  const isName = parent?.computed === false && (parent.property === node || parent.key === node);
  return identifierName(node) === "arguments" && !isName ? "arguments" : undefined;
}

/** Tells whether a name comes from an import, of a type or a value. */
export function isImported(binding: Binding): boolean {
  return binding.declaration.type.startsWith("Import");
}

/** The variable that `name` means at a place. */
export function visibleAt(module: Module, name: string, place: Node): Binding | undefined {
  let found: Binding | undefined;
  for (const binding of module.bindings) {
    if (binding.name !== name || !within(place, binding.scope)) continue;
    if (!found || within(binding.scope, found.scope)) found = binding;
  }
  return found;
}

/** The import that brought a name, undefined for names of the module itself. */
export function importOf(
  module: Module,
  binding: Binding,
): { from: string; name: string; typeOnly: boolean } | undefined {
  const specifier = binding.declaration;
  const declaration = module.parents.get(specifier);
  if (declaration?.type !== "ImportDeclaration") return undefined;
  const from = declaration.source!.value as string;
  const typeOnly = declaration.importKind === "type" || specifier.importKind === "type";
  if (specifier.type === "ImportNamespaceSpecifier") return { from, name: "*", typeOnly };
  if (specifier.type === "ImportDefaultSpecifier") return { from, name: "default", typeOnly };
  const imported = specifier.imported as Node;
  return { from, name: (imported.name ?? imported.value) as string, typeOnly };
}

/** The value a variable is declared with, when it has a plain name. */
export function initialiser(binding: Binding): Node | undefined {
  const { declaration } = binding;
  if (declaration.type !== "VariableDeclarator" || declaration.id?.type !== "Identifier") return undefined;
  return declaration.init ? unwrap(declaration.init) : undefined;
}

/** The identifier at the root of `a.b.c`, when no part is computed. */
export function memberRoot(node: Node): Node | undefined {
  let current = unwrap(node);
  while (isMember(current)) {
    if (current.computed && current.property!.type !== "StringLiteral") return undefined;
    if (current.property!.type === "PrivateName") return undefined;
    current = unwrap(current.object!);
  }
  return current.type === "Identifier" ? current : undefined;
}
