// Options that several subcommands share, and how their values are read.
import { InvalidArgumentError, Option } from "@commander-js/extra-typings";
import { MeshError } from "../core/errors.ts";
import { isName, NAME_WORDS } from "../core/identity/names.ts";

/** `--mesh NAME`. */
export function meshOption() {
  return new Option("--mesh <name>", "the mesh to ask, when there are several");
}

/** `--json`, with what it prints. */
export function jsonOption(shape: string) {
  return new Option("--json", `print as JSON: ${shape}`);
}

/** Makes what `parse` throws an error of the command line. */
export function parsed<Value>(parse: (text: string) => Value): (text: string) => Value {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw new InvalidArgumentError((error as Error).message);
    }
  };
}

/** Reads a whole number of `min` to `max`. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It is a whole number of ${min} to ${max}.`);
  };
}

/** Reads the name of a node. */
export function nodeName(text: string): string {
  if (isName(text)) return text;
  throw new InvalidArgumentError(`A name has ${NAME_WORDS}.`);
}

/** A job as people name it: by its number, else by its name. Throws USAGE for what is neither. */
export function jobRef(text: string): number | string {
  if (!/^\d+$/.test(text)) {
    if (text.length >= 1 && text.length <= 255 && !/\p{Cc}/u.test(text)) return text;
    throw new MeshError("USAGE", `${JSON.stringify(text.slice(0, 40))} is no job: give its number or its name`);
  }
  const job = Number(text);
  if (job >= 1 && job <= 2 ** 48) return job;
  throw new MeshError("USAGE", `there is no job ${text.slice(0, 40)}: they count from 1, \`mesh jobs\` lists them`);
}
