// The script's text for the processes that run its functions: imports, functions, classes and literals stay, statements go.

import { readsMissingData } from "./declarations.ts";
import { join, type Piece, type Rendered } from "./edits.ts";
import type { Binding, Module } from "./module.ts";
import { factoriesOf, headerOf, type Rewriting } from "./rewrite.ts";
import { isErased, type Node, patternIdentifiers, specifierName, unwrap } from "./syntax.ts";
import { codeExpression, topLevelKind } from "./top-level.ts";

/** Renders the script without its statements. */
export function renderWorkerScript(rewriting: Rewriting): Rendered {
  const { module } = rewriting;
  const pieces: Piece[] = [headerOf(rewriting), dataDeclarations(rewriting)];
  for (const statement of module.program.body as Node[]) {
    const kept = statementPieces(rewriting, statement);
    if (kept.length > 0) pieces.push("\n", ...kept);
  }
  pieces.push(...factoriesOf(rewriting), "\nexport {};\n");
  return join(module.file, pieces);
}

/** Declares what only the driver computes; the registry sets it before a function runs. */
function dataDeclarations({ module, analysis }: Rewriting): string {
  const names = [...module.topLevel.values()]
    .filter((binding) => analysis.broken.has(binding) || topLevelKind(module, binding) === "data")
    .map(({ name }) => name);
  return names.length === 0 ? "" : `let ${names.join(", ")};`;
}

function statementPieces(rewriting: Rewriting, statement: Node): Piece[] {
  if (isErased(statement)) return [];
  switch (statement.type) {
    case "ImportDeclaration":
      return importPieces(rewriting, statement);
    case "FunctionDeclaration":
    case "ClassDeclaration":
      return declarationPieces(rewriting, statement, statement, "");
    case "VariableDeclaration":
      return variablePieces(rewriting, statement, "");
    case "ExportDefaultDeclaration":
      return defaultPieces(rewriting, statement);
    case "ExportNamedDeclaration":
      return exportPieces(rewriting, statement);
    case "ExportAllDeclaration":
    case "TSImportEqualsDeclaration":
      return [rewriting.edits.piece(statement)];
    case "TSEnumDeclaration":
    case "TSModuleDeclaration":
      return isComplete(rewriting, statement) ? [rewriting.edits.piece(statement)] : [];
    default:
      return [];
  }
}

/** An import as it stands; where the driver uses a value of it, it is evaluated here too, used or not. */
function importPieces({ edits, module }: Rewriting, statement: Node): Piece[] {
  const pieces: Piece[] = [edits.piece(statement)];
  const from = statement.source!.value as string;
  const { attributes } = statement as { attributes?: Node[] };
  const used = statement.importKind !== "type" && statement.specifiers!.some((specifier) => isUsed(module, specifier));
  if (used && from !== "mesh" && !attributes?.length) pieces.push(`; import ${JSON.stringify(from)};`);
  return pieces;
}

function isUsed(module: Module, specifier: Node): boolean {
  return module.references.some(({ binding }) => binding.declaration === specifier);
}

function bindingOf(module: Module, name: string | undefined): Binding | undefined {
  return name === undefined ? undefined : module.topLevel.get(name);
}

function declarationPieces(rewriting: Rewriting, statement: Node, code: Node, exported: string): Piece[] {
  const { module, analysis, edits, after } = rewriting;
  const name = code.id?.name as string | undefined;
  const binding = bindingOf(module, name);
  const isDropped = binding && (analysis.broken.has(binding) || topLevelKind(module, binding) === "data");
  if (isDropped) return exported ? [`export { ${name} as ${exported} };`] : [];
  return [edits.piece(statement), after.get(statement) ?? ""];
}

function variablePieces(rewriting: Rewriting, statement: Node, exported: string): Piece[] {
  const { module, analysis, edits } = rewriting;
  const pieces: Piece[] = [];
  for (const declarator of statement.declarations!) {
    const names = patternIdentifiers(declarator.id!).map((identifier) => identifier.name as string);
    const binding = bindingOf(module, names[0]);
    const kind = binding && !analysis.broken.has(binding) ? topLevelKind(module, binding) : "data";
    // A pattern declares data only; a single name may hold code or a literal.
    if (kind === "data") {
      if (exported && names.length > 0) pieces.push(`export { ${names.join(", ")} };`);
      continue;
    }
    pieces.push(`${exported}${kind === "literal" ? "let" : "const"} `, edits.piece(declarator), "; ");
  }
  return pieces;
}

function defaultPieces(rewriting: Rewriting, statement: Node): Piece[] {
  const { module, edits } = rewriting;
  const value = statement.declaration!;
  if (value.type === "FunctionDeclaration" || value.type === "ClassDeclaration") {
    return declarationPieces(rewriting, statement, value, "default");
  }
  if (isErased(value) || codeExpression(module, value)) return [edits.piece(statement)];
  const inner = unwrap(value);
  const isName = inner.type === "Identifier" && module.bindingOf.has(inner);
  return [isName ? `export { ${inner.name} as default };` : "export default undefined;"];
}

function exportPieces(rewriting: Rewriting, statement: Node): Piece[] {
  const declared = statement.declaration;
  if (!declared) return [rewriting.edits.piece(statement)];
  if (isErased(declared)) return [];
  switch (declared.type) {
    case "VariableDeclaration":
      return variablePieces(rewriting, declared, "export ");
    case "FunctionDeclaration":
    case "ClassDeclaration":
      return declarationPieces(rewriting, statement, declared, specifierName(declared.id!));
    case "TSEnumDeclaration":
    case "TSModuleDeclaration":
      return isComplete(rewriting, declared) ? [rewriting.edits.piece(statement)] : [];
    default:
      return [rewriting.edits.piece(statement)];
  }
}

/** Tells whether an enum or namespace can be evaluated without the driver's data and without running statements. */
function isComplete({ module, analysis }: Rewriting, declared: Node): boolean {
  if (declared.type === "TSModuleDeclaration" && !onlyDeclares(declared)) return false;
  return !readsMissingData(module, declared, analysis.broken);
}

/** A namespace that runs no statements. */
function onlyDeclares(namespace: Node): boolean {
  const body = namespace.body as Node;
  if (body.type === "TSModuleDeclaration") return onlyDeclares(body);
  return (body.body as Node[]).every((statement) => {
    const declared = statement.type === "ExportNamedDeclaration" ? (statement.declaration ?? statement) : statement;
    if (declared.type === "TSModuleDeclaration") return onlyDeclares(declared);
    return isErased(declared) || /Declaration$/.test(declared.type);
  });
}
