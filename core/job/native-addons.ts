// Native addons are machine code for one platform: they are never part of a bundle. A package's addon is loaded where its
// file exists and the platform matches, and is a clear error elsewhere; packages that can do without one then do.

import { dirname, isAbsolute, resolve } from "node:path";

/** An import of an addon by one of the user's own files. */
export interface AddonImport {
  specifier: string;
  importer: string;
}

export class NativeAddons {
  readonly imports: AddonImport[] = [];

  /** Notes imports by own files; the bundler resolves packages' by itself. */
  resolve(specifier: string, importer: string): { path: string } | undefined {
    if (/[/\\]node_modules[/\\]/.test(importer)) return undefined;
    this.imports.push({ specifier, importer });
    return { path: isAbsolute(specifier) ? specifier : resolve(dirname(importer), specifier) };
  }

  /** Code that stands for an addon in the bundle. */
  load(path: string): string {
    const built = `${process.platform}-${process.arch}`;
    return `
const path = ${JSON.stringify(path)};
const here = process.platform + "-" + process.arch;
if (here !== ${JSON.stringify(built)} || !require("node:fs").existsSync(path)) {
  throw new Error("the native addon " + path + " cannot travel: it was built for ${built}, this host is " + here +
    "; install the package at the same path there, or use one without native code");
}
module.exports = require("node:module").createRequire(path)(path);
`;
  }
}

/** Says why an own file's import of an addon is refused. */
export function addonMessage(specifier: string): string {
  return (
    `the native addon "${specifier}" cannot travel to other machines: it is machine code for ` +
    `${process.platform}-${process.arch}; use a package without native code, or load it inside the function with ` +
    "process.dlopen from a path that every host of this platform has"
  );
}
