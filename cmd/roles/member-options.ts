// Options that several commands share by which a node joins a mesh, or is in it.
import { Option } from "@commander-js/extra-typings";
import { nodeName } from "../options.ts";

/** What all that stay in the mesh take. */
export interface MemberCommandOptions {
  join?: string[];
  name?: string;
  listen?: string[];
  advertise: string[];
  tokenFile?: string;
  mesh?: string;
  managed?: boolean;
}

/** How people write where the coordinator is. */
export const COORDINATOR_WORDS =
  'addresses of the coordinator, such as "tcp://10.0.0.1:7450", or "discover" on its LAN';

export function joinOption() {
  return new Option("--join <address...>", COORDINATOR_WORDS);
}

/** `otherwise` says what its name is without. */
export function nameOption(otherwise: string) {
  return new Option("--name <name>", `unique in the mesh (default: ${otherwise})`).argParser(nodeName);
}

export function advertiseOption() {
  return new Option("--advertise <address...>", "what to tell nodes instead, when a router forwards a port to here");
}

export function tokenFileOption() {
  return new Option("--token-file <path>", "a file that holds the token");
}

/** Given by `mesh host` of `mesh up`: what the node is to be is in its joined folder, and there it says how it stands. */
export function managedOption() {
  return new Option("--managed").hideHelp();
}
