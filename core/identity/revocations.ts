// Which certificates count no more. The coordinator keeps the list in a file and pushes it to all nodes.
import { MeshError } from "../errors.ts";
import { readJsonFile, writeJsonFile } from "./json-file.ts";
import { checkName, isName } from "./names.ts";
import type { RevocationCheck } from "./trust.ts";
import { BACKDATE_MS, issuedAt, LONGEST_VALIDITY_MS } from "./validity.ts";

const LIMIT = 1000;
const SERIAL = /^[0-9a-f]{32}$/;
const DAMAGED =
  "put it back from a backup; or delete it and run mesh rotate with an overlap of 0, and let all nodes join again";

/** The list as plain data: in the file, and on the wire. Times are milliseconds since 1970. */
export interface RevocationData {
  /** Grows with every change. */
  version: number;
  /** Single certificates; forgotten after `until`, when they have expired. */
  serials: { serial: string; until: number }[];
  /** Every certificate of a name that was issued before a moment. */
  names: { name: string; before: number; until: number }[];
}

/** The list of a mesh: kept and changed by the coordinator, replaced by newer ones in every other node. */
export class Revocations implements RevocationCheck {
  readonly #path: string | undefined;
  #version = 0;
  #serials = new Map<string, RevocationData["serials"][number]>();
  #names = new Map<string, RevocationData["names"][number]>();

  /**
   * With `path` the list of that file, written at every change; without, an empty one.
   * Throws AUTHENTICATION when the file is damaged or not this user's alone.
   */
  constructor(path?: string) {
    this.#path = path;
    const data = path === undefined ? undefined : readJsonFile(path, checkRevocations, DAMAGED);
    if (data) this.#take(data);
  }

  get version(): number {
    return this.#version;
  }

  /** Tells whether a certificate was revoked: by its serial, or its name's certificates of that age. */
  isRevoked(serial: string, name: string, notBefore: number): boolean {
    if (this.#serials.has(serial)) return true;
    const revoked = this.#names.get(name);
    return revoked !== undefined && issuedAt(notBefore) < revoked.before;
  }

  /** Revokes one certificate, which expires at `notAfter`. */
  revokeSerial(serial: string, { nowMs, notAfter }: { nowMs: number; notAfter: number }): void {
    if (!SERIAL.test(serial)) {
      throw new MeshError(
        "USAGE",
        `${JSON.stringify(serial)} is no serial of a certificate: 32 hex digits, lower case`,
      );
    }
    const data = this.#kept(nowMs);
    data.serials = data.serials.filter((entry) => entry.serial !== serial);
    data.serials.push({ serial, until: notAfter });
    this.#change(data);
  }

  /** Revokes every certificate of `name` that was issued up to now. Those made at `issueTime` or later are good. */
  revokeName(name: string, nowMs: number): void {
    checkName(name, "the name of a node");
    // Certificates know whole seconds: up to the end of this one.
    const before = Math.max(Math.floor(nowMs / 1000) * 1000 + 1000, this.#names.get(name)?.before ?? 0);
    const data = this.#kept(nowMs);
    data.names = data.names.filter((entry) => entry.name !== name);
    data.names.push({ name, before, until: before + LONGEST_VALIDITY_MS });
    this.#change(data);
  }

  /** The `nowMs` for a new certificate of `name`: later than its revocation, also within the same second. */
  issueTime(name: string, nowMs: number): number {
    return Math.max(nowMs, this.#names.get(name)?.before ?? 0);
  }

  /** The list as plain data, for the wire. */
  toData(): RevocationData {
    return { version: this.#version, serials: [...this.#serials.values()], names: [...this.#names.values()] };
  }

  /** Takes a list over that was checked, if it is newer; tells whether it was. For nodes that keep no file. */
  accept(data: RevocationData): boolean {
    if (data.version <= this.#version) return false;
    this.#take(data);
    return true;
  }

  #kept(nowMs: number): RevocationData {
    const { serials, names } = this.toData();
    const kept = { serials: serials.filter(isCurrent), names: names.filter(isCurrent) };
    // Not older than the time: a list from a backup must still be newer to nodes than what they have.
    return { version: Math.max(this.#version + 1, Math.floor(nowMs)), ...kept };

    function isCurrent({ until }: { until: number }): boolean {
      return until + BACKDATE_MS > nowMs;
    }
  }

  #change(data: RevocationData): void {
    if (data.serials.length + data.names.length > LIMIT) {
      const message = `${LIMIT} revocations are in force: replace the CA with mesh rotate; what the old one signed ends with it`;
      throw new MeshError("USAGE", message);
    }
    if (this.#path !== undefined) writeJsonFile(this.#path, data);
    this.#take(data); // not before it is on disk
  }

  #take({ version, serials, names }: RevocationData): void {
    this.#version = version;
    this.#serials = new Map(serials.map((entry) => [entry.serial, entry]));
    this.#names = new Map(names.map((entry) => [entry.name, entry]));
  }
}

/** Checks a list from the wire or a file. Throws PROTOCOL when it is none. */
export function checkRevocations(value: unknown): RevocationData {
  const { version, serials, names } = (value ?? {}) as Partial<RevocationData>;
  const isList =
    isTime(version) && Array.isArray(serials) && Array.isArray(names) && serials.length + names.length <= LIMIT;
  if (!isList) throw malformed(`has no version, no lists, or over ${LIMIT} entries`);
  return { version, serials: serials.map(checkSerial), names: names.map(checkNameEntry) };
}

function checkSerial(entry: RevocationData["serials"][number] | null): RevocationData["serials"][number] {
  const { serial, until } = entry ?? {};
  if (typeof serial === "string" && SERIAL.test(serial) && isTime(until)) return { serial, until };
  throw malformed("holds something else than a serial of 32 hex digits and a time");
}

function checkNameEntry(entry: RevocationData["names"][number] | null): RevocationData["names"][number] {
  const { name, before, until } = entry ?? {};
  if (isName(name) && isTime(before) && isTime(until)) return { name, before, until };
  throw malformed("holds something else than a node's name and two times");
}

function malformed(what: string): MeshError {
  return new MeshError("PROTOCOL", `a list of revocations ${what}`);
}

function isTime(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
