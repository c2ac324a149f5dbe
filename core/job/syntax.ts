// The syntax tree as the analysis sees it, and the few questions asked of single nodes. Pure; knows no scopes.

/**
 * A node of Babel's tree with the fields the analysis reads. Babel's own types are a union of 250 members that says little
 * more at the places where we look.
 */
export interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly loc: { readonly start: { readonly line: number; readonly column: number } };
  readonly name?: string | Node;
  readonly id?: Node | null;
  readonly key?: Node;
  readonly value?: unknown;
  readonly init?: Node | null;
  readonly kind?: string;
  readonly operator?: string;
  readonly body?: Node | Node[] | null;
  readonly directives?: Node[];
  readonly params?: Node[];
  readonly callee?: Node;
  readonly arguments?: Node[];
  readonly object?: Node;
  readonly property?: Node;
  readonly computed?: boolean;
  readonly static?: boolean;
  readonly declare?: boolean;
  readonly left?: Node;
  readonly right?: Node;
  readonly test?: Node;
  readonly consequent?: Node | Node[];
  readonly alternate?: Node | null;
  readonly argument?: Node | null;
  readonly expression?: Node | boolean;
  readonly expressions?: Node[];
  readonly elements?: (Node | null)[];
  readonly properties?: Node[];
  readonly declaration?: Node | null;
  readonly declarations?: Node[];
  readonly specifiers?: Node[];
  readonly source?: Node | null;
  readonly local?: Node;
  readonly imported?: Node;
  readonly exported?: Node;
  readonly importKind?: string | null;
  readonly exportKind?: string | null;
  readonly superClass?: Node | null;
  readonly decorators?: Node[] | null;
  readonly parameter?: Node;
  readonly typeAnnotation?: Node | null;
  readonly typeName?: Node;
  readonly types?: Node[];
  readonly meta?: Node;
}

// Types are erased before anything runs: nothing in them is a reference.
const TYPE_KEYS = new Set([
  "typeAnnotation",
  "typeParameters",
  "typeArguments",
  "returnType",
  "superTypeParameters",
  "superTypeArguments",
  "implements",
  "predicate",
]);
const OTHER_KEYS = new Set(["type", "start", "end", "loc", "extra", "range", "errors", "tokens", "comments"]);
const TYPE_NODES = new Set([
  "TSInterfaceDeclaration",
  "TSTypeAliasDeclaration",
  "TSDeclareFunction",
  "TSDeclareMethod",
  "TSIndexSignature",
  "TSNamespaceExportDeclaration",
]);

/** Tells whether a node leaves no code behind. */
export function isErased(node: Node): boolean {
  return TYPE_NODES.has(node.type) || node.declare === true;
}

/** The nodes directly inside `node` that are code, in source order. */
export function children(node: Node): Node[] {
  const found: Node[] = [];
  let isSorted = true;
  const add = (value: unknown) => {
    if (!isNode(value) || isErased(value)) return;
    if (found.length > 0 && found[found.length - 1]!.start > value.start) isSorted = false;
    found.push(value);
  };
  for (const key in node) {
    if (!holdsCode(key)) continue;
    const value = (node as unknown as Record<string, unknown>)[key];
    if (Array.isArray(value)) value.forEach(add);
    else add(value);
  }
  // Babel lists nearly all keys in source order; decorators and a few others are the exceptions.
  return isSorted ? found : found.sort((a, b) => a.start - b.start);
}

// A tree has few distinct keys and very many nodes.
const codeKeys = new Map<string, boolean>();

function holdsCode(key: string): boolean {
  let holds = codeKeys.get(key);
  if (holds === undefined) {
    holds = !OTHER_KEYS.has(key) && !TYPE_KEYS.has(key) && !key.endsWith("Comments");
    codeKeys.set(key, holds);
  }
  return holds;
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && typeof (value as Node).type === "string";
}

/** Tells whether `inner` lies inside `outer`, or is it. */
export function within(inner: { start: number; end: number }, outer: { start: number; end: number }): boolean {
  return inner.start >= outer.start && inner.end <= outer.end;
}

const WRAPPERS = new Set([
  "ParenthesizedExpression",
  "TSAsExpression",
  "TSSatisfiesExpression",
  "TSNonNullExpression",
  "TSTypeAssertion",
  "TSInstantiationExpression",
]);

/** The expression inside parentheses, `as`, `satisfies` and `!`. */
export function unwrap(node: Node): Node {
  let current = node;
  while (WRAPPERS.has(current.type)) current = current.expression as Node;
  return current;
}

const FUNCTIONS = new Set([
  "ArrowFunctionExpression",
  "FunctionExpression",
  "FunctionDeclaration",
  "ObjectMethod",
  "ClassMethod",
  "ClassPrivateMethod",
]);

/** Any function with a body, methods too. */
export function isFunction(node: Node): boolean {
  return FUNCTIONS.has(node.type);
}

export function isClass(node: Node): boolean {
  return node.type === "ClassDeclaration" || node.type === "ClassExpression";
}

/** An expression or declaration that can be handed over: functions and classes, but no methods. */
export function isShippable(node: Node): boolean {
  return (
    node.type === "ArrowFunctionExpression" ||
    node.type === "FunctionExpression" ||
    node.type === "FunctionDeclaration" ||
    isClass(node)
  );
}

export function isCall(node: Node): boolean {
  return node.type === "CallExpression" || node.type === "OptionalCallExpression";
}

export function isMember(node: Node): boolean {
  return node.type === "MemberExpression" || node.type === "OptionalMemberExpression";
}

/** The name of a plain identifier, undefined for anything else. */
export function identifierName(node: Node | null | undefined): string | undefined {
  return node?.type === "Identifier" ? (node.name as string) : undefined;
}

/** The property a member expression names without computing it, `a.b` or `a["b"]`. */
export function propertyName(member: Node): string | undefined {
  const property = member.property as Node;
  if (!member.computed) return identifierName(property);
  return property.type === "StringLiteral" ? (property.value as string) : undefined;
}

/** The name an import or export specifier gives the other side, which may be written as a string. */
export function specifierName(node: Node | undefined): string {
  return node === undefined ? "default" : ((node.name ?? node.value) as string);
}

/** The identifiers a declaration's or assignment's left side binds or writes. */
export function patternIdentifiers(pattern: Node): Node[] {
  switch (pattern.type) {
    case "Identifier":
      return [pattern];
    case "ObjectPattern":
      return pattern.properties!.flatMap((property) =>
        patternIdentifiers((property.type === "RestElement" ? property.argument : property.value) as Node),
      );
    case "ArrayPattern":
      return pattern.elements!.flatMap((element) => (element ? patternIdentifiers(element) : []));
    case "AssignmentPattern":
      return patternIdentifiers(pattern.left!);
    case "RestElement":
      return patternIdentifiers(pattern.argument!);
    case "TSParameterProperty":
      return patternIdentifiers(pattern.parameter!);
    default: {
      const inner = unwrap(pattern);
      return inner === pattern ? [] : patternIdentifiers(inner);
    }
  }
}

/** A value that is the same wherever it is computed: literals, and containers and arithmetic of them. */
export function isPureLiteral(node: Node, isConstant: (identifier: Node) => boolean): boolean {
  const pure = (inner: Node): boolean => isPureLiteral(inner, isConstant);
  const value = unwrap(node);
  switch (value.type) {
    case "ArrayExpression":
      return value.elements!.every(
        (element) => element === null || (element.type !== "SpreadElement" && pure(element)),
      );
    case "ObjectExpression":
      return value.properties!.every(
        (property) =>
          property.type === "ObjectProperty" &&
          (!property.computed || pure(property.key!)) &&
          pure(property.value as Node),
      );
    case "RegExpLiteral":
      return true;
    default:
      return isPrimitiveLiteral(value, isConstant);
  }
}

/** A pure literal that is not an object, so that nobody can change it. */
export function isPrimitiveLiteral(node: Node, isConstant: (identifier: Node) => boolean): boolean {
  const pure = (inner: Node): boolean => isPrimitiveLiteral(inner, isConstant);
  const value = unwrap(node);
  switch (value.type) {
    case "NumericLiteral":
    case "StringLiteral":
    case "BooleanLiteral":
    case "NullLiteral":
    case "BigIntLiteral":
      return true;
    case "TemplateLiteral":
      return value.expressions!.every(pure);
    case "UnaryExpression":
      return value.operator !== "delete" && pure(value.argument!);
    case "BinaryExpression":
    case "LogicalExpression":
      return pure(value.left!) && pure(value.right!);
    case "ConditionalExpression":
      return pure(value.test!) && pure(value.consequent as Node) && pure(value.alternate!);
    case "Identifier":
      return isConstant(value);
    default:
      return false;
  }
}
