// What is added to the bodies of module-level classes so that their instances can travel: a way to reach `#private` fields,
// and a way to make an object with its private fields without running constructor bodies.

import type { Edits } from "./edits.ts";
import { identifierName, type Node, unwrap } from "./syntax.ts";

/** Adds a guard to the constructor and, when instances hide something, a static block that tells the registry how to reach it. */
export function classEdits(edits: Edits, registry: string, code: Node, id: string): void {
  const body = code.body as Node;
  const members = body.body as Node[];
  const builder = members.find((member) => member.type === "ClassMethod" && member.kind === "constructor");
  if (builder) {
    edits.insert((builder.body as Node).start + 1, guard(registry, id, Boolean(code.superClass)));
  }
  const slots = slotsText(members, Boolean(code.superClass && builder));
  if (slots) edits.insert(body.end - 1, ` static { ${registry}.slots(this, ${slots}); } `);
}

function guard(registry: string, id: string, isDerived: boolean): string {
  const test = `if (new.target === ${registry}.reviving)`;
  return isDerived ? ` ${test} { super(...${registry}.blanks(${JSON.stringify(id)})); return; }` : ` ${test} return;`;
}

function slotsText(members: Node[], hasDerivedConstructor: boolean): string | undefined {
  const instance = members.filter((member) => !member.static);
  const hidden = instance.filter((member) => hiddenName(member) !== undefined && !holdsFunction(member));
  const own = instance.filter((member) => member.type === "ClassProperty" && !member.computed && holdsFunction(member));
  // A private method or function needs the private slot, though no value of it travels.
  const needed = instance.some((member) => hiddenName(member) !== undefined || member.type === "ClassPrivateMethod");
  if (!needed && own.length === 0) return undefined;
  const names = hidden.map((member) => hiddenName(member)!);
  const read = names.map((name) => `${JSON.stringify(name)}: o.${name}`).join(", ");
  const write = names
    .map((name) => `if (${JSON.stringify(name)} in v) o.${name} = v[${JSON.stringify(name)}];`)
    .join(" ");
  const ownNames = own.map((member) => JSON.stringify(identifierName(member.key) ?? member.key!.value)).join(", ");
  // Bun lowers accessors to code after the constructor's own super(), which the guard returns before.
  const isLowered = hasDerivedConstructor && instance.some((member) => member.type === "ClassAccessorProperty");
  const refused = isLowered ? ', refused: "it has an `accessor` field and a constructor that calls super()"' : "";
  return `{ read: (o) => ({ ${read} }), write: (o, v) => { ${write} }, own: [${ownNames}]${refused} }`;
}

/** The name of a `#private` field or an auto-accessor, whose value is no property of the object. */
function hiddenName(member: Node): string | undefined {
  if (member.type === "ClassPrivateProperty") return `#${identifierName(member.key!.id)}`;
  if (member.type !== "ClassAccessorProperty") return undefined;
  return member.key!.type === "PrivateName" ? `#${identifierName(member.key!.id)}` : identifierName(member.key);
}

function holdsFunction(member: Node): boolean {
  const value = member.value as Node | null | undefined;
  if (!value) return false;
  const { type } = unwrap(value);
  return type === "ArrowFunctionExpression" || type === "FunctionExpression" || type === "ClassExpression";
}
