// The hosts on the way to a destination, each with the user's settings for it: jump hosts first, itself last.
import { MeshError } from "../../core/errors.ts";
import { type Destination, nameOf, parseHop } from "./destination.ts";
import { readSettings } from "./read-settings.ts";
import type { SshSettings } from "./settings.ts";

export interface Hop {
  destination: Destination;
  settings: SshSettings;
  /** For people: "alice@10.0.0.5", or as it was typed. */
  label: string;
}

/** Throws CONFIG for a way that leads in a circle, and what readSettings throws. */
export async function findRoute(
  destination: Destination,
  options: { configFile?: string; signal?: AbortSignal },
  seen: readonly string[] = [],
): Promise<Hop[]> {
  const label = nameOf(destination);
  if (seen.includes(label)) {
    throw new MeshError(
      "CONFIG",
      `ProxyJump leads in a circle: ${[...seen, label].join(" needs ")}; give the first jump host "ProxyJump none"`,
    );
  }
  const settings = await readSettings(destination, options);
  const jumps = settings.proxyJump.map(parseHop);
  const [first, ...others] = jumps;
  const before = first ? await findRoute(first, options, [...seen, label]) : [];
  // Of these, ssh minds their own ProxyJump as little: the way is spelled out.
  const between = await Promise.all(
    others.map(async (hop) => ({ destination: hop, settings: await readSettings(hop, options), label: nameOf(hop) })),
  );
  return [...before, ...between, { destination, settings, label }];
}

/** The way as a name, to tell whether two are the same: "root@10.0.0.1:22 alice@10.0.0.5:22". */
export function routeName(hops: readonly Hop[]): string {
  return hops.map(({ settings: { user, hostName, port } }) => `${user}@${hostName}:${port}`).join(" ");
}
