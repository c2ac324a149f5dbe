// What becomes of each module-level name when other processes load the file: kept as it stands, or captured by value.
// Pure. Only the script has data that is captured; imported modules are evaluated whole in every process.

import { apiName } from "./handles.ts";
import { type Binding, initialiser, isImported, type Module } from "./module.ts";
import { MARKER } from "./shipping.ts";
import { identifierName, isCall, isPrimitiveLiteral, isPureLiteral, isShippable, type Node, unwrap } from "./syntax.ts";

/**
 * "kept": imports, enums and all of an imported module; "code": functions and classes, registered under their names;
 * "constant": a primitive written out, the same everywhere; "literal": an object written out, which starts the same
 * everywhere but may change; "data": anything else.
 */
export type TopLevelKind = "kept" | "code" | "constant" | "literal" | "data";

export function topLevelKind(module: Module, binding: Binding): TopLevelKind {
  let kind = kinds.get(binding);
  if (!kind) {
    kinds.set(binding, "data"); // ends the circle of constants defined by each other
    kind = findKind(module, binding);
    kinds.set(binding, kind);
  }
  return kind;
}

// Asked once for every reference.
const kinds = new WeakMap<Binding, TopLevelKind>();

function findKind(module: Module, binding: Binding): TopLevelKind {
  if (isImported(binding) || binding.declaration.type.startsWith("TS")) return "kept";
  if (codeOf(module, binding)) return "code";
  if (!module.isScript || isRequired(module, binding)) return "kept";
  return dataKind(module, binding);
}

/** Tells whether a variable comes from `require("…")`, which is an import by another name. */
function isRequired(module: Module, binding: Binding): boolean {
  const { init } = binding.declaration;
  if (!init || binding.kind !== "const") return false;
  const call = unwrap(init);
  return (
    isCall(call) &&
    identifierName(call.callee) === "require" &&
    !module.bindingOf.has(call.callee!) &&
    call.arguments![0]?.type === "StringLiteral"
  );
}

function dataKind(module: Module, binding: Binding): TopLevelKind {
  const value = initialiser(binding);
  if (binding.kind !== "const" || !value || isUsing(module, binding)) return "data";
  const isConstant = (identifier: Node) => {
    const other = module.bindingOf.get(identifier);
    return (
      other !== undefined && other !== binding && other.scope === module.program && isConstantBinding(module, other)
    );
  };
  if (isPrimitiveLiteral(value, isConstant)) return "constant";
  return isPureLiteral(value, isConstant) ? "literal" : "data";
}

function isConstantBinding(module: Module, binding: Binding): boolean {
  return binding.kind === "const" && topLevelKind(module, binding) === "constant";
}

function isUsing(module: Module, binding: Binding): boolean {
  return /using/.test(module.parents.get(binding.declaration)?.kind ?? "");
}

/**
 * The function or class a variable always holds: its declaration, or its initialiser, marked with `task(...)` or not,
 * when nothing is ever assigned to it.
 */
export function codeOf(module: Module, binding: Binding): Node | undefined {
  const { declaration } = binding;
  if (declaration.type === "FunctionDeclaration" || declaration.type === "ClassDeclaration") {
    return binding.assigned.length === 0 ? declaration : undefined;
  }
  const value = initialiser(binding);
  if (!value || binding.assigned.length > 0) return undefined;
  return codeExpression(module, value);
}

/** The function or class an expression writes out, inside `task(...)` or not. */
export function codeExpression(module: Module, expression: Node): Node | undefined {
  const value = unwrap(expression);
  if (isShippable(value)) return value;
  if (!isCall(value) || apiName(module, value.callee!) !== MARKER || value.arguments!.length !== 1) return undefined;
  const marked = unwrap(value.arguments![0]!);
  return isShippable(marked) ? marked : undefined;
}
