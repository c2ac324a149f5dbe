// A destination as people write it for ssh: "host", "user@host", "ssh://user@host:port". It ends up in command lines and in
// lookups, so what could be read as anything else is refused before anything runs.
import { MeshError } from "../../core/errors.ts";

export interface Destination {
  /** A name, an alias of ssh_config, or an address; IPv6 without brackets. */
  host: string;
  user?: string;
  port?: number;
}

// What ssh itself refuses in names: they reach ProxyCommand and Match exec, which are lines for a shell.
const UNSAFE = /[\s'"`$\\;&<>|(){},\p{Cc}]/u;

/** Takes a destination apart. Throws USAGE for one that is none, such as one that looks like an option. */
export function parseDestination(text: string): Destination {
  const { place, isUrl } = withoutScheme(text);
  const at = place.lastIndexOf("@");
  const user = at < 0 ? undefined : isUrl ? decodeURIComponent(place.slice(0, at)) : place.slice(0, at);
  const destination = { ...hostAndPort(place.slice(at + 1), isUrl, text), ...(user === undefined ? {} : { user }) };
  check("host", destination.host, text);
  if (user !== undefined) check("user", user, text);
  return destination;
}

/** A hop as ProxyJump has it: there, a port may follow a colon. */
export function parseHop(text: string): Destination {
  return parseDestination(text.startsWith("ssh://") ? text : `ssh://${text}`);
}

/** For people and for `ssh`: "alice@10.0.0.5", without the port. */
export function nameOf({ user, host }: Destination): string {
  return user === undefined ? host : `${user}@${host}`;
}

function withoutScheme(text: string): { place: string; isUrl: boolean } {
  const url = /^ssh:\/\/([^/]*)\/?$/.exec(text);
  if (url) return { place: url[1]!, isUrl: true };
  if (text.includes("/")) throw refused(text, 'it has a "/"');
  return { place: text, isUrl: false };
}

function hostAndPort(place: string, isUrl: boolean, text: string): { host: string; port?: number } {
  const bracketed = /^\[([^\]]+)\](?::(\d+))?$/.exec(place);
  const plain = /^([^:]*):(\d+)$/.exec(place);
  const found = bracketed ?? (isUrl ? plain : null);
  if (plain && !isUrl && !bracketed) throw refused(text, `write a port as ssh://${place}, or as Port in ssh_config`);
  if (!found) return { host: place };
  if (found[2] === undefined) return { host: found[1]! };
  const port = Number(found[2]);
  if (port < 1 || port > 65_535) throw refused(text, `${found[2]} is no port: 1 to 65535`);
  return { host: found[1]!, port };
}

function check(what: "host" | "user", value: string, text: string): void {
  if (value === "") throw refused(text, `its ${what} is empty`);
  if (value.startsWith("-")) throw refused(text, `a ${what} that starts with "-" would be read as an option of ssh`);
  const bad = UNSAFE.exec(value);
  if (bad) throw refused(text, `its ${what} has ${JSON.stringify(bad[0])}, which names of ${what}s cannot have`);
}

function refused(text: string, why: string): MeshError {
  return new MeshError(
    "USAGE",
    `${JSON.stringify(text)} is no destination for ssh: ${why}; write host, user@host or ssh://user@host:port`,
  );
}
