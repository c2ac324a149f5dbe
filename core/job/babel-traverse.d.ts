// @babel/traverse ships no types; this is the part that core/job/module.ts uses.
declare module "@babel/traverse" {
  export interface BabelPath {
    node: unknown;
    parent: unknown;
    skip(): void;
  }
  export interface BabelBinding {
    identifier: unknown;
    kind: string;
    scope: BabelScope;
    path: BabelPath;
    referencePaths: BabelPath[];
    constantViolations: BabelPath[];
  }
  export interface BabelScope {
    block: unknown;
    bindings: Record<string, BabelBinding>;
  }
  interface Traverse {
    (ast: unknown, visitor: Record<string, (path: BabelPath) => void>): void;
    cache: { scope: WeakMap<object, BabelScope> };
  }
  const traverse: Traverse & { default?: Traverse };
  export default traverse;
}
