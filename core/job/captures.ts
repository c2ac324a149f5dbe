// What a function needs from around it: values of enclosing functions, helpers to take along, the script's top-level data,
// itself or through what it calls; and why it cannot run elsewhere, if so. Pure.

import { type Binding, type Module, type Reference, referencesIn } from "./module.ts";
import { isCall, isClass, type Node, unwrap, within } from "./syntax.ts";
import { codeOf, topLevelKind } from "./top-level.ts";

/** Why a function cannot run in another process, and where that stands. */
export interface Violation {
  readonly node: Node;
  readonly variable: string;
  /** "`n` is assigned here" */
  readonly problem: string;
  /** "return the value instead" */
  readonly advice: string;
}

export interface Captures {
  /** Variables of enclosing functions, by value. */
  readonly locals: Set<Binding>;
  /** Functions and classes of enclosing functions that go along as code. */
  readonly helpers: Set<Binding>;
  /** The script's top-level data. */
  readonly data: Set<Binding>;
  readonly violations: Violation[];
  /** Captured values used as functions, and where. */
  readonly called: Map<Binding, Node>;
}

/** Violations known beforehand of module-level code, such as a class that workers cannot declare. */
export type KnownViolations = ReadonlyMap<Binding, Violation>;

/** Follows everything `code` reaches. */
export function capturesOf(module: Module, code: Node, known: KnownViolations = new Map()): Captures {
  const captures: Captures = {
    locals: new Set(),
    helpers: new Set(),
    data: new Set(),
    violations: [],
    called: new Map(),
  };
  const visited = new Set<Binding>();
  const queue = [code];
  const follow = (binding: Binding, node: Node) => {
    if (visited.has(binding)) return;
    visited.add(binding);
    queue.push(node);
  };
  for (let range = queue.pop(); range; range = queue.pop()) {
    const { references, violations } = directOf(module, range);
    captures.violations.push(...violations);
    for (const reference of references) {
      const isTopLevel = reference.binding.scope === module.program;
      if (isTopLevel) addTopLevel(module, reference, captures, known, follow);
      else addLocal(module, reference, captures, follow);
    }
  }
  return captures;
}

/** What one piece of code says by itself, without what it reaches. */
interface Direct {
  readonly references: readonly Reference[];
  readonly violations: readonly Violation[];
}

// Many functions reach the same helpers: each is looked at once.
const direct = new WeakMap<Node, Direct>();

function directOf(module: Module, range: Node): Direct {
  let found = direct.get(range);
  if (!found) {
    found = { references: outsideReferences(module, range), violations: foreignThis(module, range) };
    direct.set(range, found);
  }
  return found;
}

/** The references in `range` to what is declared outside of it, but for names that every process has. */
function outsideReferences(module: Module, range: Node): Reference[] {
  return referencesIn(module, range).filter(({ binding }) => {
    if (binding.scope === module.program) return module.isScript && topLevelKind(module, binding) !== "kept";
    return !within(binding.scope, range);
  });
}

type Follow = (binding: Binding, code: Node) => void;

function addLocal(module: Module, reference: Reference, captures: Captures, follow: Follow): void {
  const { binding } = reference;
  const code = codeOf(module, binding);
  if (code) {
    captures.helpers.add(binding);
    follow(binding, helperRange(binding, code));
    return;
  }
  captures.locals.add(binding);
  noteUse(module, reference, captures);
}

/** A helper's initialiser as a whole goes along, `task(...)` and all. */
function helperRange(binding: Binding, code: Node): Node {
  return binding.declaration.type === "VariableDeclarator" ? binding.declaration.init! : code;
}

function addTopLevel(
  module: Module,
  reference: Reference,
  captures: Captures,
  known: KnownViolations,
  follow: Follow,
): void {
  const { binding } = reference;
  const violation = known.get(binding);
  if (violation) captures.violations.push(violation);
  switch (topLevelKind(module, binding)) {
    case "code":
      follow(binding, codeOf(module, binding)!);
      return;
    case "literal":
    case "data":
      captures.data.add(binding);
      noteUse(module, reference, captures);
      return;
  }
}

function noteUse(module: Module, { node, binding, write }: Reference, captures: Captures): void {
  if (write) {
    captures.violations.push({
      node,
      variable: binding.name,
      problem: `\`${binding.name}\` is assigned here`,
      advice:
        "another process has only a copy of the variable, so the assignment would be lost; return the value instead, " +
        "or declare the variable inside the function",
    });
    return;
  }
  if (isCalled(module, node) && !captures.called.has(binding)) captures.called.set(binding, node);
}

function isCalled(module: Module, node: Node): boolean {
  let inner = node;
  let parent = module.parents.get(inner);
  while (parent && unwrap(parent) === node && parent !== node) {
    inner = parent;
    parent = module.parents.get(inner);
  }
  if (!parent) return false;
  if (isCall(parent) || parent.type === "NewExpression") return parent.callee === inner;
  return parent.type === "TaggedTemplateExpression" && (parent as unknown as { tag: Node }).tag === inner;
}

/** Uses of `this` and its like, and of `#private` names, whose meaning comes from outside of `range`. */
function foreignThis(module: Module, range: Node): Violation[] {
  const takesThis = hasForeignThis(range);
  return module.thisUses
    .filter(({ node, owner }) => within(node, range) && !within(owner, range) && owner !== module.program)
    .filter(({ what }) => takesThis || what.startsWith("#"))
    .map(({ node, what }) => ({
      node,
      variable: what,
      problem: what.startsWith("#")
        ? `\`${what}\` of the class around it is used here`
        : `\`${what}\` of the code around it is used here`,
      advice: thisAdvice(what),
    }));
}

function thisAdvice(what: string): string {
  if (what === "arguments") return "give the function parameters of its own";
  if (what.startsWith("#"))
    return `only code inside the class can use \`${what}\`; call a method of the class that does`;
  return `\`${what}\` does not travel; put what is needed of it into a const before the call and use that`;
}

function hasForeignThis(range: Node): boolean {
  return range.type === "ArrowFunctionExpression" || isClass(range) || isCall(range);
}
