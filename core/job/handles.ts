// Finds the calls that hand functions to the mesh API. What the API ships stands in shipping.ts; here is only how a call
// is recognised: by what its callee means, never by its name alone.

import { type Binding, importOf, initialiser, type Module } from "./module.ts";
import { HANDLE_MAKERS, SHIPPING_CALLS, SHIPPING_CONSTRUCTORS, SHIPPING_METHODS } from "./shipping.ts";
import { identifierName, isCall, isClass, isFunction, isMember, type Node, propertyName, unwrap } from "./syntax.ts";

/** A call that ships its arguments. */
export interface Site {
  readonly call: Node;
  /** What is called, for messages: "pool().map", "task". */
  readonly what: string;
  readonly arguments: readonly Node[];
}

/** All calls of a module that ship functions. */
export function shippingSites(module: Module): Site[] {
  return module.nodes.flatMap((node) => {
    const what = shippingCallee(module, node);
    return what === undefined ? [] : [{ call: node, what, arguments: node.arguments!.filter(isPositional) }];
  });
}

function isPositional(argument: Node): boolean {
  return argument.type !== "SpreadElement" && argument.type !== "ArgumentPlaceholder";
}

function shippingCallee(module: Module, node: Node): string | undefined {
  if (node.type === "NewExpression") {
    const name = apiName(module, node.callee!);
    return name !== undefined && SHIPPING_CONSTRUCTORS.has(name) ? `new ${name}` : undefined;
  }
  if (!isCall(node)) return undefined;
  const name = apiName(module, node.callee!);
  if (name !== undefined && SHIPPING_CALLS.has(name)) return name;
  const callee = unwrap(node.callee!);
  if (!isMember(callee)) return undefined;
  const method = propertyName(callee);
  // Most methods are no shipping methods of any handle: look no further then.
  if (method === undefined || ![...SHIPPING_METHODS.values()].some((methods) => methods.has(method))) return undefined;
  const type = handleType(module, callee.object!);
  return type !== undefined && SHIPPING_METHODS.get(type)?.has(method) ? `${type}.${method}` : undefined;
}

/** The name in the mesh API that an expression stands for: an imported name, renamed or not, or a namespace's member. */
export function apiName(module: Module, expression: Node): string | undefined {
  const node = unwrap(expression);
  if (node.type === "Identifier") {
    const name = meshImport(module, module.bindingOf.get(node));
    return name === "*" ? undefined : name;
  }
  if (!isMember(node)) return undefined;
  const object = unwrap(node.object!);
  const isNamespace = object.type === "Identifier" && meshImport(module, module.bindingOf.get(object)) === "*";
  return isNamespace ? propertyName(node) : undefined;
}

function meshImport(module: Module, binding: Binding | undefined): string | undefined {
  const imported = binding && importOf(module, binding);
  return imported?.from === "mesh" ? imported.name : undefined;
}

/** The type of mesh handle an expression holds, as far as the code around it shows. */
function handleType(module: Module, expression: Node, seen = new Set<Binding>()): string | undefined {
  const node = unwrap(expression);
  const typeOf = (inner: Node | undefined) => inner && handleType(module, inner, seen);
  switch (node.type) {
    case "AwaitExpression":
    case "ChainExpression":
      return typeOf((node.argument ?? node.expression) as Node);
    case "CallExpression":
    case "OptionalCallExpression":
    case "NewExpression": {
      const name = apiName(module, node.callee!);
      return name === undefined ? undefined : HANDLE_MAKERS.get(name);
    }
    case "ConditionalExpression":
      return typeOf(node.consequent as Node) ?? typeOf(node.alternate!);
    case "LogicalExpression":
      return typeOf(node.right) ?? typeOf(node.left);
    case "AssignmentExpression":
      return typeOf(node.right);
    case "SequenceExpression":
      return typeOf(node.expressions!.at(-1));
    case "Identifier": {
      const binding = module.bindingOf.get(node);
      if (!binding || seen.has(binding)) return undefined;
      seen.add(binding);
      return bindingType(module, binding, typeOf);
    }
    case "MemberExpression":
    case "OptionalMemberExpression":
      return unwrap(node.object!).type === "ThisExpression" ? fieldType(module, node, typeOf) : undefined;
    default:
      return undefined;
  }
}

type TypeOf = (node: Node | undefined) => string | undefined;

function bindingType(module: Module, binding: Binding, typeOf: TypeOf): string | undefined {
  const { declaration } = binding;
  const declared = declaration.type === "VariableDeclarator" ? declaration.id! : parameterOf(declaration, binding.name);
  const annotated = declared && annotatedType(module, declared.typeAnnotation);
  if (annotated) return annotated;
  const values = [initialiser(binding), parameterDefault(declaration), ...binding.assigned];
  for (const value of values) {
    const type = typeOf(value);
    if (type) return type;
  }
  return undefined;
}

/** The identifier of a plain parameter, with or without default or modifier. */
function parameterOf(pattern: Node, name: string): Node | undefined {
  if (pattern.type === "AssignmentPattern") return parameterOf(pattern.left!, name);
  if (pattern.type === "TSParameterProperty") return parameterOf(pattern.parameter!, name);
  return identifierName(pattern) === name ? pattern : undefined;
}

function parameterDefault(pattern: Node): Node | undefined {
  if (pattern.type === "TSParameterProperty") return parameterDefault(pattern.parameter!);
  return pattern.type === "AssignmentPattern" && pattern.left!.type === "Identifier" ? pattern.right : undefined;
}

/** The handle type of `this.name`, from the field or parameter property that declares it. */
function fieldType(module: Module, member: Node, typeOf: TypeOf): string | undefined {
  const name = memberName(member.property!, member.computed);
  const body = name !== undefined ? enclosingClassBody(module, member) : undefined;
  for (const field of body ?? []) {
    if (field.type.endsWith("Property") && memberName(field.key!, field.computed) === name) {
      const type = annotatedType(module, field.typeAnnotation) ?? typeOf((field.value as Node | null) ?? undefined);
      if (type) return type;
    }
    for (const parameter of field.kind === "constructor" ? (field.params ?? []) : []) {
      const declared = parameter.type === "TSParameterProperty" ? parameterOf(parameter, name!) : undefined;
      const type = declared && annotatedType(module, declared.typeAnnotation);
      if (type) return type;
    }
  }
  return undefined;
}

function memberName(key: Node, computed: boolean | undefined): string | undefined {
  if (key.type === "PrivateName") return `#${identifierName(key.id)}`;
  return computed ? undefined : (identifierName(key) ?? (key.value as string | undefined));
}

function enclosingClassBody(module: Module, node: Node): Node[] | undefined {
  let current: Node | undefined = node;
  let functions = 0;
  while (current && !isClass(current)) {
    if (isFunction(current) && current.type !== "ArrowFunctionExpression" && !isMethod(current)) functions++;
    current = module.parents.get(current);
  }
  return current && functions === 0 ? ((current.body as Node).body as Node[]) : undefined;
}

function isMethod(node: Node): boolean {
  return node.type === "ClassMethod" || node.type === "ClassPrivateMethod";
}

/** The mesh type a type annotation names, `Pool`, `mesh.Pool` or a union with one. */
function annotatedType(module: Module, annotation: Node | null | undefined): string | undefined {
  if (!annotation) return undefined;
  switch (annotation.type) {
    case "TSTypeAnnotation":
    case "TSParenthesizedType":
      return annotatedType(module, annotation.typeAnnotation);
    case "TSUnionType":
    case "TSIntersectionType":
      return annotation.types!.map((type) => annotatedType(module, type)).find((type) => type !== undefined);
    case "TSTypeReference":
      return namedType(module, annotation.typeName!);
    default:
      return undefined;
  }
}

function namedType(module: Module, name: Node): string | undefined {
  if (name.type === "TSQualifiedName") {
    const left = identifierName(name.left);
    const isNamespace = left !== undefined && meshImport(module, module.topLevel.get(left)) === "*";
    return isNamespace ? identifierName(name.right) : undefined;
  }
  const imported = meshImport(module, module.topLevel.get(identifierName(name) ?? ""));
  return imported !== undefined && SHIPPING_METHODS.has(imported) ? imported : undefined;
}
