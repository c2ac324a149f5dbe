// What the system's ssh says on stderr, as an error of mesh. Pure.
import { MeshError } from "../../core/errors.ts";
import { foreignWords } from "./foreign-words.ts";

export interface SshFailure {
  /** For people: "alice@10.0.0.5". */
  label: string;
  /** A command line that shows more. */
  command: string;
  /** What ssh was needed for: "ProxyCommand". */
  needs: string[];
  stderr: string;
}

/** sshd hung up before it said who it is, and nothing else was said about it. */
export function isDrop(stderr: string): boolean {
  return linesOf(stderr)[0]?.startsWith("kex_exchange_identification:") ?? false;
}

/** AUTHENTICATION or UNREACHABLE. */
export function explainFailure(failure: SshFailure): MeshError {
  const { label, command, needs, stderr } = failure;
  const by = `ssh (needed for ${needs.join(", ")})`;
  if (stderr.includes("HAS CHANGED")) return new MeshError("AUTHENTICATION", changedKey(label, stderr));
  if (stderr.includes("Host key verification failed") || stderr.includes("strict checking")) {
    const shown = /(\S+) host key is known for/.exec(stderr)?.[1];
    const words = `${label} is not known: ${by} has no ${shown ? `${shown} ` : ""}host key of it. Look at it and trust it with: ${command} true – or use --accept-new-keys`;
    return new MeshError("AUTHENTICATION", words);
  }
  const said = linesOf(stderr).join("; ") || "it said nothing";
  const isRefused = /Permission denied|Too many authentication failures/.test(stderr);
  if (isRefused)
    return new MeshError("AUTHENTICATION", `${label} let nobody in, by ${by}: ${said}; see more with: ${command} -v`);
  return new MeshError("UNREACHABLE", `${label} cannot be reached by ${by}: ${said}; see more with: ${command} -v`);
}

function changedKey(label: string, stderr: string): string {
  const fingerprint = /SHA256:[A-Za-z0-9+/]+/.exec(stderr)?.[0] ?? "another key";
  const old = /Offending (?:\S+ )?key in (.+?:\d+)/.exec(stderr)?.[1] ?? "known_hosts";
  const remove = /ssh-keygen .*/.exec(stderr)?.[0]?.trim() ?? `take ${old} out`;
  return `the host key of ${label} has changed: it shows ${fingerprint}, but ${old} knows another one. Somebody may be listening in, or the host was set up anew. If you know that the new key is right: ${remove}`;
}

/** Without what says nothing to people. */
function linesOf(stderr: string): string[] {
  const lines = stderr.split("\n").map(foreignWords);
  return lines.filter((line) => line !== "" && !/^Warning: Permanently added|^@|^debug\d/.test(line));
}
