// How bodies that come from other nodes are checked: sizes, types and ranges, before anything is done with them.
import * as z from "zod";
import { MeshError, type MeshErrorCode } from "../errors.ts";

/** Text without control characters. */
export const text = (longest: number) =>
  z
    .string()
    .max(longest)
    .regex(/^\P{Cc}*$/u, "control characters");
/** Words for people, from who knows where: cut, and without what would steer a terminal. No job is refused for its words. */
export const words = (longest: number) =>
  z.string().transform((value) => value.slice(0, longest).replace(/[^\n\t\P{Cc}]/gu, "\ufffd"));
export const name = () => z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,62}$/, "not a name");
export const whole = (min: number, max: number) => z.int().min(min).max(max);
export const measure = (max: number) => z.number().min(0).max(max);
export const nodeId = () => whole(1, 0xffffffff);
export const bytes = (most: number) =>
  z.custom<Uint8Array>(
    (value) => value instanceof Uint8Array && value.length <= most,
    `expected at most ${most} bytes`,
  );
/** Milliseconds since 1970, up to the year 2200. */
export const moment = () => measure(7_258_118_400_000);
export const duration = (mostMs: number) => measure(mostMs);

/**
 * The body as `schema` wants it; keys it does not know are left out, so that newer peers are understood.
 * Throws `code` naming what is wrong, and where.
 */
export function checkBody<Schema extends z.ZodType>(
  schema: Schema,
  what: string,
  body: unknown,
  code: MeshErrorCode = "PROTOCOL",
): z.infer<Schema> {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = issue && issue.path.length > 0 ? `${issue.path.map(String).join(".")}: ` : "";
  throw new MeshError(code, `${what} has a body that is not allowed: ${where}${issue?.message ?? "it is wrong"}`);
}
