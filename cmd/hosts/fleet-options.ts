// Options of the commands that work on hosts.
import { Option } from "@commander-js/extra-typings";
import { wholeNumber } from "../options.ts";

export interface FleetCommandOptions {
  mesh?: string | undefined;
  parallel: number;
  acceptNewKeys?: true | undefined;
  askPassword?: true | undefined;
  json?: true | undefined;
  /** Whether the rendezvous of mesh.toml is meant, too, whichever hosts are named. */
  andRendezvous?: true | undefined;
}

/** How many hosts are worked on at a time, unless somebody says otherwise. */
export const PARALLEL = 16;
const PARALLEL_LIMIT = 256;

export function parallelOption() {
  return new Option("--parallel <count>", "how many hosts to work on at a time")
    .argParser(wholeNumber(1, PARALLEL_LIMIT))
    .default(PARALLEL);
}

export function acceptNewKeysOption() {
  return new Option("--accept-new-keys", "trust hosts whose key ssh does not know yet, and remember it");
}

export function askPasswordOption() {
  return new Option("--ask-password", "log in by password, where keys do not do");
}
