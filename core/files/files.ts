// What copying files stands on: a place where files are, here or on another node, and one file of it to read or to write.

/** What of a file is copied with its content. */
export interface FileFacts {
  sizeBytes: number;
  /** Milliseconds since 1970. */
  mtimeMs: number;
  /** Permissions, 0 to 0o777. */
  mode: number;
}

/** Where a file is: in the folder of files that a node keeps for jobs, or anywhere its user may go; or the node's own log. */
export type Place =
  | { root: "files"; dir: string; name: string }
  /** Absolute, or relative to the user's home (on another node) or the current folder (here). */
  | { root: "user"; path: string }
  | { root: "log" };

export interface Entry extends FileFacts {
  name: string;
  /** Of what a link leads to. "other" is neither: a device, a socket, a link to nothing. */
  kind: "file" | "folder" | "other";
}

/** What is at a place; links are followed. */
export type Look =
  | { kind: "none" }
  | (FileFacts & {
      kind: "file" | "folder" | "other";
      /** The same for the same folder however one gets there: tells when links lead in a circle. */
      id: string;
      /** Of a folder, when asked for. */
      entries?: Entry[];
    });

/** A file that stands where another was to go. */
export interface Standing {
  sizeBytes: number;
  mtimeMs: number;
  /** SHA-256 of its content, in hexadecimal. */
  hash: string;
}

/** A file that is read, from its beginning to its end. */
export interface Source {
  readonly facts: FileFacts;
  /** The bytes from `offset` on, fewer only at the end of the file; may be called again before the answer is there. */
  read(offset: number, sizeBytes: number): Promise<Uint8Array>;
  /** SHA-256 of the first bytes, in hexadecimal; of what was read just now at no further cost. */
  hash(sizeBytes: number): Promise<string>;
  close(): Promise<void>;
}

/** A file that is written beside its name, and gets that at the end. */
export interface Target {
  /** Where it will be. */
  readonly path: string;
  /** So much is there of an earlier attempt, of that hash. */
  readonly offset: number;
  readonly hash: string;
  /** In order; 0 begins anew. May be called again before it is answered. */
  write(offset: number, bytes: Uint8Array): Promise<void>;
  /** Gives it its name when its content has that hash. Something that is not to be overwritten may have come there. */
  finish(hash: string): Promise<{ state: "saved" } | { state: "exists"; standing: Standing }>;
  /** Lets go of it; `keeps` what is there for another attempt. */
  abandon(keeps: boolean): Promise<void>;
}

/** What stands in the way of a target, or the target itself. */
export type Begun =
  | { state: "write"; target: Target }
  /** Of the same size: it may be the same file. */
  | { state: "compare"; path: string; standing: Standing }
  | { state: "exists"; path: string; standing: Standing };

export interface BeginOptions {
  overwrite: boolean;
  /** Whether a file of the same size is worth a comparison; otherwise it is known to differ. */
  compares: boolean;
}

/** Somewhere files are. Errors are of code STORAGE, of USAGE for places that are not allowed. */
export interface Files {
  look(place: Place, withEntries: boolean): Promise<Look>;
  open(place: Place): Promise<Source>;
  begin(place: Place, facts: FileFacts, options: BeginOptions): Promise<Begun>;
  /** Gives what stands there permissions and time. */
  adjust(place: Place, facts: Pick<FileFacts, "mtimeMs" | "mode">): Promise<void>;
  /** Makes a folder if it is missing. */
  makeFolder(place: Place): Promise<void>;
  /** Removes a file; false when there is none. */
  delete(place: Place): Promise<boolean>;
}
