// The one error class of mesh and its closed set of codes. Only cmd/exit.ts turns a code into an exit status.

/** Stable names of what can go wrong. Append only: scripts compare against them. */
export const MESH_ERROR_CODES = [
  "USAGE", // the command line or an argument of the API is wrong
  "CONFIG", // mesh.toml is wrong
  "SCRIPT", // a job script cannot be found, parsed or prepared
  "CANNOT_TRAVEL", // a value or function cannot be sent to another process
  "TASK_FAILED", // a task threw
  "SLOT_LOST", // the process that ran a task died
  "TIMEOUT", // a limit in time passed
  "CANCELLED", // a signal or a closed scope ended it
  "PROTOCOL", // a peer sent what the protocol does not allow
  "FRAME_TOO_LARGE", // a frame or value is over its limit
  "LINK_CLOSED", // the other side is gone
  "AUTHENTICATION", // identity or host key refused
  "UNREACHABLE", // nothing answers there
  "OUTPUT", // what a job prints cannot be written
  "STORAGE", // a state folder or its database cannot be read or written
  "CLOSED", // a pipe, reference or pool was closed by one of those who use it
  "FULL", // a buffer is full, and its user chose not to wait
  "RETIRING", // a worker that is being replaced takes no new jobs
] as const;

export type MeshErrorCode = (typeof MESH_ERROR_CODES)[number];

/**
 * Says what was tried, on what, what happened and what to do next.
 * A bug inside mesh throws a plain `Error` instead.
 */
export class MeshError extends Error {
  readonly code: MeshErrorCode;

  constructor(code: MeshErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "MeshError";
    this.code = code;
  }
}

/** Tells whether `error` is a MeshError, of `code` when one is given; also one of another copy of this module. */
export function isMeshError(error: unknown, code?: MeshErrorCode): error is MeshError {
  if (!(error instanceof Error) || error.name !== "MeshError") return false;
  const own = (error as { code?: unknown }).code;
  return code === undefined ? MESH_ERROR_CODES.includes(own as MeshErrorCode) : own === code;
}
