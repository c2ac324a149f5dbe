// What a user's command and a worker tell each other about commands that run there: as schemas and as types. Who only sends
// imports the types and loads nothing.
import * as z from "zod";
import { bytes, duration, whole } from "../wire/body-checks.ts";

const MIB = 1024 * 1024;

/** The asker's own number for it, from 1. */
const command = whole(1, 0xffffffff);
/** A word of a command line: the kernel takes 128 KiB, without a zero byte. */
const word = z
  .string()
  .max(131_071)
  .refine((text) => !text.includes("\0"), "a zero byte");

/** client -> worker, request: run this; answered with CommandEnd when it is over and all it printed was taken. */
export const exec = z.object({
  command,
  /** The program and its arguments; with a script its arguments alone. */
  words: z.array(word).max(10_000),
  /** Text of a program that is run instead, by what its first line names, else by sh. */
  script: z.exactOptional(bytes(64 * MIB)),
  /** It reads what execInput brings; otherwise nothing. */
  readsInput: z.boolean(),
});
export type Exec = z.infer<typeof exec>;

/** Answer to exec. */
export interface CommandEnd {
  /** 127 and 126 when it could not be started, as shells say it; 128 and its number when a signal ended it. */
  exitCode: number;
  signal?: NodeJS.Signals;
  /** Why it could not be started. */
  problem?: string;
}

/** worker -> client, request: what it printed, in order for each stream. */
export interface ExecOutput {
  command: number;
  stream: "stdout" | "stderr";
  bytes: Uint8Array;
}

/** client -> worker, request: what it reads next; without bytes the end of it. */
export const execInput = z.object({ command, bytes: z.exactOptional(bytes(MIB)) });
export type ExecInput = z.infer<typeof execInput>;

/** client -> worker: end it and all it started: by this signal, and by SIGKILL when the grace is over. */
export const execStop = z.object({
  command,
  signal: z.enum(["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"]),
  graceMs: duration(3_600_000),
});
export type ExecStop = z.infer<typeof execStop>;
