// Decides for one file which functions are registered and extracted, what each captures, and what is wrong.
// Pure: the rewriter turns the result into text, the builder reports the diagnostics.

import { type Captures, capturesOf, type Violation } from "./captures.ts";
import { type BrokenCode, brokenDeclarations } from "./declarations.ts";
import type { Diagnostic } from "./diagnostics.ts";
import { apiName, type Site, shippingSites } from "./handles.ts";
import { type Binding, importOf, initialiser, type Module, memberRoot, visibleAt } from "./module.ts";
import { isCall, isFunction, isMember, isShippable, type Node, propertyName, unwrap, within } from "./syntax.ts";
import { codeExpression, codeOf, topLevelKind } from "./top-level.ts";

/** A function inside other code that is extracted into a factory. */
export interface Shipment {
  readonly code: Node;
  readonly id: string;
  /** The variable that always holds it, when there is one. */
  readonly binding: Binding | undefined;
  readonly captures: Captures;
  /** Captured variables that another variable of the same name hides where the function stands. */
  readonly hidden: ReadonlySet<Binding>;
}

/** A module-level function or class, registered under its name. */
export interface TopLevelCode {
  readonly code: Node;
  readonly id: string;
  readonly binding: Binding | undefined;
  /** The script's data it uses. */
  readonly data: readonly Binding[];
  /** Why it cannot travel, if so. */
  readonly reason: string | undefined;
}

/** An argument such as `path.basename`, found again in other processes by evaluating it. */
export interface ShippedExpression {
  readonly node: Node;
  readonly id: string;
}

export interface Analysis {
  readonly module: Module;
  readonly shipments: readonly Shipment[];
  readonly topLevel: readonly TopLevelCode[];
  readonly expressions: readonly ShippedExpression[];
  /** Module-level code the worker bundle leaves out, as it cannot be declared there. */
  readonly broken: BrokenCode;
  readonly diagnostics: readonly Diagnostic[];
}

export function analyse(module: Module): Analysis {
  return new Analyser(module).run();
}

class Analyser {
  readonly #module: Module;
  readonly #broken: BrokenCode;
  readonly #shipments = new Map<Node, Shipment>();
  readonly #expressions = new Map<Node, ShippedExpression>();
  readonly #owners = new Map<Node, Binding>();
  readonly #handedOver = new Map<Node, Site>();
  readonly #topLevel = new Map<Node, Binding | undefined>();
  readonly #diagnostics: Diagnostic[] = [];
  // Run at the end, when all that is handed over is known.
  readonly #checks: (() => void)[] = [];

  constructor(module: Module) {
    this.#module = module;
    this.#broken = brokenDeclarations(module);
  }

  run(): Analysis {
    this.#collectOwners();
    for (const site of shippingSites(this.#module)) {
      site.arguments.forEach((argument, index) => {
        this.#handOver(argument, site, index === 0);
      });
    }
    const topLevel = [...this.#topLevel].map(([code, binding]) => this.#register(code, binding));
    for (const check of this.#checks) check();
    return {
      module: this.#module,
      shipments: [...this.#shipments.values()],
      topLevel,
      expressions: [...this.#expressions.values()],
      broken: this.#broken,
      diagnostics: this.#diagnostics,
    };
  }

  #collectOwners(): void {
    const module = this.#module;
    for (const binding of module.bindings) {
      const code = codeOf(module, binding);
      if (!code) continue;
      this.#owners.set(code, binding);
      if (binding.scope === module.program) this.#topLevel.set(code, binding);
    }
    const code = defaultExport(module);
    if (code && !this.#topLevel.has(code)) this.#topLevel.set(code, undefined);
  }

  /** Follows a handed-over expression to the functions it may stand for. `required`: it has to be a function. */
  #handOver(expression: Node, site: Site, required: boolean, seen = new Set<Binding>()): void {
    const node = unwrap(expression);
    if (isShippable(node)) this.#shipCode(node, site);
    else if (node.type === "Identifier") this.#handOverName(node, site, required, seen);
    else if (node.type === "MemberExpression") this.#handOverExpression(node);
    else {
      const alternatives = possibleValues(node);
      for (const value of alternatives) this.#handOver(value, site, required, seen);
      if (alternatives.length === 0 && required) this.#refuseValue(node, node, site);
    }
  }

  #handOverName(node: Node, site: Site, required: boolean, seen: Set<Binding>): void {
    const module = this.#module;
    const binding = module.bindingOf.get(node);
    const isKept = binding?.scope === module.program && topLevelKind(module, binding) === "kept";
    if (!binding || isKept) {
      this.#handOverExpression(node);
      return;
    }
    if (seen.has(binding)) return;
    seen.add(binding);
    const code = codeOf(module, binding);
    if (code) {
      this.#shipCode(code, site);
      return;
    }
    for (const value of valuesOf(binding)) {
      if (valuesOf(binding).length === 1 && required) this.#refuseValue(unwrap(value), node, site, binding);
      this.#handOver(value, site, false, seen);
    }
  }

  #shipCode(code: Node, site: Site): void {
    if (!this.#handedOver.has(code)) this.#handedOver.set(code, site);
    if (this.#topLevel.has(code) || this.#shipments.has(code)) return;
    const binding = this.#owners.get(code);
    const captures = capturesOf(this.#module, code, this.#broken);
    const id = `${this.#idAt(code)}${binding ? `#${binding.name}` : ""}`;
    const around = this.#module.parents.get(code)!;
    const hidden = [...captures.locals].filter((local) => visibleAt(this.#module, local.name, around) !== local);
    this.#shipments.set(code, { code, id, binding, captures, hidden: new Set(hidden) });
    for (const local of hidden) {
      if (accessorPlace(local) === undefined) this.#report(hiddenVariable(local, code), site);
    }
    this.#checkCaptures(captures, site);
  }

  #checkCaptures(captures: Captures, site: Site): void {
    for (const violation of captures.violations) this.#report(violation, site);
    for (const [binding, use] of captures.called) {
      for (const value of valuesOf(binding)) {
        if (binding.assigned.length === 0) this.#refuseValue(value, use, site, binding);
        this.#handOver(value, site, false, new Set([binding]));
      }
    }
  }

  /** Registers an argument made only of names that every process has. */
  #handOverExpression(node: Node): void {
    const module = this.#module;
    const root = memberRoot(node);
    if (!root || root.name === "undefined" || this.#expressions.has(node)) return;
    const binding = module.bindingOf.get(root);
    if (binding) {
      if (binding.scope !== module.program) return;
      const kind = topLevelKind(module, binding);
      if (kind !== "kept" && kind !== "code") return;
    }
    const text = module.source.slice(node.start, node.end);
    this.#expressions.set(node, { node, id: `${this.#idAt(node)}#${text}` });
  }

  #register(code: Node, binding: Binding | undefined): TopLevelCode {
    const captures = capturesOf(this.#module, code, this.#broken);
    const own = binding && this.#broken.get(binding);
    const violations = own ? [own, ...captures.violations] : captures.violations;
    const site = this.#handedOver.get(code);
    if (site) {
      for (const violation of violations) this.#report(violation, site);
      this.#checkCaptures({ ...captures, violations: [] }, site);
    }
    return {
      code,
      id: `${this.#module.name}#${binding?.name ?? "default"}`,
      binding,
      data: [...captures.data],
      reason: violations[0] && this.#reason(violations[0]),
    };
  }

  #refuseValue(value: Node, at: Node, site: Site, binding?: Binding): void {
    this.#checks.push(() => this.#refuseNow(value, at, site, binding));
  }

  #refuseNow(value: Node, at: Node, site: Site, binding?: Binding): void {
    const why = unshippable(this.#module, value, this.#handedOver);
    if (!why) return;
    const subject = binding ? `\`${binding.name}\`` : "this";
    this.#report(
      {
        node: at,
        variable: binding?.name ?? "",
        problem: `${subject} is used as a function here, but it is ${why.problem}`,
        advice: why.advice,
      },
      site,
    );
  }

  #report(violation: Violation, site: Site): void {
    const { line, column } = place(violation.node);
    const from = place(site.call);
    const diagnostic: Diagnostic = {
      file: this.#module.file,
      line,
      column,
      message:
        `${violation.problem}, in code that runs in another process (handed to ${site.what} at line ${from.line}): ` +
        violation.advice,
    };
    if (violation.variable) diagnostic.variable = violation.variable;
    this.#diagnostics.push(diagnostic);
  }

  #reason(violation: Violation): string {
    const { line, column } = place(violation.node);
    return `${violation.problem} (${this.#module.name}:${line}:${column}): ${violation.advice}`;
  }

  #idAt(node: Node): string {
    const { line, column } = place(node);
    return `${this.#module.name}:${line}:${column}`;
  }
}

function place(node: Node): { line: number; column: number } {
  return { line: node.loc.start.line, column: node.loc.start.column + 1 };
}

/**
 * Where a function that reads a hidden variable can be declared: at the start of the block its scope covers. Undefined
 * where there is no block.
 */
export function accessorPlace({ scope }: Binding): number | undefined {
  const body = scope.type === "BlockStatement" ? scope : (scope.body as Node | undefined);
  return body?.type === "BlockStatement" ? (body.directives?.at(-1)?.end ?? body.start + 1) : undefined;
}

function hiddenVariable(local: Binding, code: Node): Violation {
  return {
    node: code,
    variable: local.name,
    problem: `two variables called \`${local.name}\` are used by a function here`,
    advice: "rename one of them",
  };
}

function defaultExport(module: Module): Node | undefined {
  const found = (module.program.body as Node[]).find((node) => node.type === "ExportDefaultDeclaration");
  return found && codeExpression(module, found.declaration!);
}

/** The parts of an expression that may become its value. */
function possibleValues(node: Node): Node[] {
  switch (node.type) {
    case "ConditionalExpression":
      return [node.consequent as Node, node.alternate!];
    case "LogicalExpression":
      return [node.left!, node.right!];
    case "SequenceExpression":
      return [node.expressions!.at(-1)!];
    case "AssignmentExpression":
      return [node.right!];
    default:
      return [];
  }
}

/** The values a variable is seen to get. */
function valuesOf(binding: Binding): Node[] {
  return [initialiser(binding), ...binding.assigned].filter((value) => value !== undefined);
}

/** Why a value used as a function is surely none that travels; undefined when it may be. */
function unshippable(
  module: Module,
  expression: Node,
  handedOver: ReadonlyMap<Node, Site>,
): { problem: string; advice: string } | undefined {
  const value = unwrap(expression);
  if (value.type === "NewExpression" && value.callee!.name === "Function" && !module.bindingOf.has(value.callee!)) {
    return { problem: "made from text by `new Function`", advice: "write the function out: task((x) => …)" };
  }
  if (!isCall(value)) return undefined;
  const callee = unwrap(value.callee!);
  if (isMember(callee) && propertyName(callee) === "bind") {
    return {
      problem: "made by `.bind()`",
      advice: "what it is bound to cannot be seen; write a lambda that calls it instead: (x) => object.method(x)",
    };
  }
  const binding = callee.type === "Identifier" ? module.bindingOf.get(callee) : undefined;
  if (!binding || apiName(module, callee)) return undefined;
  const maker = codeOf(module, binding);
  if (maker && returnsUnmarked(module, maker, handedOver)) {
    return {
      problem: `a function made by \`${binding.name}\``,
      advice:
        `write \`task(...)\` around the function where \`${binding.name}\` makes it, so that its code is known, ` +
        "or move the call inside the function",
    };
  }
  const imported = importOf(module, binding);
  if (imported && !/^[./]/.test(imported.from)) {
    return {
      problem: `made by \`${binding.name}\` of "${imported.from}"`,
      advice: `move the call of \`${binding.name}\` inside the function`,
    };
  }
  return undefined;
}

/** Tells whether a function returns a function that is not handed over where it is written. */
function returnsUnmarked(module: Module, maker: Node, handedOver: ReadonlyMap<Node, Site>): boolean {
  if (!isFunction(maker)) return false;
  return returnedValues(module, maker).some((value) => {
    const node = unwrap(value);
    if (isShippable(node)) return !handedOver.has(node);
    const binding = node.type === "Identifier" ? module.bindingOf.get(node) : undefined;
    const code = binding && binding.scope !== module.program ? codeOf(module, binding) : undefined;
    return code !== undefined && !handedOver.has(code);
  });
}

function returnedValues(module: Module, maker: Node): Node[] {
  const body = maker.body as Node;
  if (body.type !== "BlockStatement") return [body];
  return module.nodes
    .filter((node) => node.type === "ReturnStatement" && node.argument && within(node, body))
    .filter((node) => enclosingFunction(module, node) === maker)
    .map((node) => node.argument!);
}

function enclosingFunction(module: Module, node: Node): Node | undefined {
  let current = module.parents.get(node);
  while (current && !isFunction(current)) current = module.parents.get(current);
  return current;
}
