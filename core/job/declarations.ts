// Finds the script's classes that a worker cannot declare: they run code when they are declared, and that code reads data
// which only the driver has. Pure.

import type { Violation } from "./captures.ts";
import { capturesOf } from "./captures.ts";
import { type Binding, type Module, type Reference, referencesIn } from "./module.ts";
import { isClass, isFunction, type Node, within } from "./syntax.ts";
import { codeOf, topLevelKind } from "./top-level.ts";

/** Why each such class cannot be declared. */
export type BrokenCode = ReadonlyMap<Binding, Violation>;

export function brokenDeclarations(module: Module): BrokenCode {
  const broken = new Map<Binding, Violation>();
  if (!module.isScript) return broken;
  // A class may extend one found broken later: look again until nothing changes.
  for (let before = -1; before !== broken.size; ) {
    before = broken.size;
    for (const binding of module.topLevel.values()) {
      const code = broken.has(binding) ? undefined : codeOf(module, binding);
      const violation = code && isClass(code) ? whyBroken(module, binding, code, broken) : undefined;
      if (violation) broken.set(binding, violation);
    }
  }
  return broken;
}

function whyBroken(module: Module, owner: Binding, code: Node, broken: BrokenCode): Violation | undefined {
  for (const reference of referencesIn(module, code)) {
    const { binding } = reference;
    if (binding === owner || binding.scope !== module.program) continue;
    if (!runsOnDeclaration(module, code, reference)) continue;
    const missing = missingData(module, binding, broken);
    if (missing) return violationOf(owner, reference, missing);
  }
  return undefined;
}

/** Tells whether evaluating an enum or a namespace reads data that only the driver has. */
export function readsMissingData(module: Module, code: Node, broken: BrokenCode): boolean {
  return referencesIn(module, code).some((reference) => {
    const { binding } = reference;
    if (binding.scope !== module.program || !runsOnDeclaration(module, code, reference)) return false;
    return missingData(module, binding, broken) !== undefined;
  });
}

/** What of the driver's data evaluating a name needs: the name itself, or what the function behind it uses. */
function missingData(module: Module, binding: Binding, broken: BrokenCode): string | undefined {
  if (broken.has(binding)) return binding.name;
  const kind = topLevelKind(module, binding);
  if (kind === "data") return binding.name;
  if (kind !== "code") return undefined;
  const code = codeOf(module, binding)!;
  if (isClass(code)) return undefined;
  for (const used of capturesOf(module, code, broken).data) {
    if (topLevelKind(module, used) === "data") return used.name;
  }
  return undefined;
}

/** Tells whether a place inside a class is reached while the class is declared: heritage, decorators, statics, names. */
function runsOnDeclaration(module: Module, code: Node, { node }: Reference): boolean {
  let child = node;
  for (let parent = module.parents.get(node); parent && within(parent, code); parent = module.parents.get(parent)) {
    if (isFunction(parent) && child !== parent.key && !parent.decorators?.includes(child)) return false;
    const isField = parent.type.endsWith("Property") && parent.type.startsWith("Class");
    if (isField && parent.value === child && !parent.static) return false;
    child = parent;
  }
  return true;
}

function violationOf(owner: Binding, { node }: Reference, missing: string): Violation {
  return {
    node,
    variable: missing,
    problem: `class \`${owner.name}\` reads \`${missing}\` while it is declared`,
    advice:
      `\`${missing}\` has no value when other processes load the class; read it inside a method, ` +
      "or move both to a module of their own",
  };
}
