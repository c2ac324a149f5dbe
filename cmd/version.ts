// mesh version: what this binary is. Kept free of the command line parser, because hosts ask it often.
import { PROTOCOL_VERSION } from "../core/wire/message-types.ts";
import pkg from "../package.json" with { type: "json" };

/** Put in by scripts/build.mjs; not there when the sources run without it. */
declare const MESH_BUILD: { version: string; commit: string } | undefined;

export interface Version {
  version: string;
  /** The short commit it was built from, with "-dirty" when files differed; "unknown" without git. */
  commit: string;
  bun: string;
  /** Operating system and processor: "linux-x64". */
  platform: string;
  /** The version of PROTOCOL.md it speaks; nodes of different ones refuse each other. */
  protocol: number;
}

/** Tells what this binary is. */
export function version(): Version {
  const built = typeof MESH_BUILD === "undefined" ? { version: pkg.version, commit: "source" } : MESH_BUILD;
  return { ...built, bun: Bun.version, platform: `${process.platform}-${process.arch}`, protocol: PROTOCOL_VERSION };
}

/** The answer of `mesh version`, as a line for people or as JSON. */
export function versionLine(json: boolean): string {
  const own = version();
  const { version: number, commit, bun, platform, protocol } = own;
  return json ? JSON.stringify(own) : `mesh ${number} (${commit}, bun ${bun}, ${platform}, protocol ${protocol})`;
}

/** `mesh version`, for the parser's help; main.ts answers the plain forms without it. */
export async function command() {
  const { Command } = await import("@commander-js/extra-typings");
  return new Command("version")
    .description("Print version, commit, Bun's version and platform.")
    .option("--json", "print as JSON")
    .action((options) => console.log(versionLine(options.json === true)));
}
