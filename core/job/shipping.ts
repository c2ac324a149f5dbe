// The one table of which parts of the mesh API ship functions to other processes. The rewriter knows no API name beside it.

/** API names whose call ships every positional argument that is a function. */
export const SHIPPING_CALLS: ReadonlySet<string> = new Set(["task", "spawn", "expose"]);

/** API names whose `new` ships every positional argument that is a function. */
export const SHIPPING_CONSTRUCTORS: ReadonlySet<string> = new Set(["Process"]);

/** API names whose call makes a handle, and the name of the handle's type. */
export const HANDLE_MAKERS: ReadonlyMap<string, string> = new Map([["pool", "Pool"]]);

/** Methods that ship every positional argument that is a function, by the type of their handle. */
export const SHIPPING_METHODS: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ["Pool", new Set(["map", "starmap", "imap", "imapUnordered", "submit", "apply"])],
]);

/** The API name that marks a function as one that travels and returns it unchanged. */
export const MARKER = "task";
