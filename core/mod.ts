// The library as jobs import it: `import { pool } from "mesh"`.

export type { Self } from "./api/context.ts";
export {
  deleteFile,
  type FileOptions,
  type SendFileOptions,
  type SendFileResult,
  sendFile,
} from "./api/files.ts";
export { type ForkOptions, fork, type ShutdownOptions, shutdown } from "./api/fork.ts";
export type { Items } from "./api/items.ts";
export type { NodeEvent, NodeInfo, NodeListener, WaitOptions } from "./api/node-view.ts";
export { args, locateNode, nodes, onNode, self } from "./api/nodes.ts";
export { type PipeOptions, pipe } from "./api/pipe.ts";
export type { Funnel, Spout } from "./api/pipe-ends.ts";
export type { WhenFull } from "./api/pipe-sender.ts";
export { type MapOptions, type Pool, type PoolOptions, pool, type Settled, type TaskResult, task } from "./api/pool.ts";
export { Process, type ProcessExit, type ProcessOptions, type TerminateOptions } from "./api/process.ts";
export { put } from "./api/put.ts";
export type { Ref } from "./api/put-ref.ts";
export { type TaskPlace, taskOf } from "./api/task-error.ts";
export { MeshError, type MeshErrorCode } from "./errors.ts";
