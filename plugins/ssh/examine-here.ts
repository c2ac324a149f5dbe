// What this machine has for logging in elsewhere: ssh, an agent, keys.

import { isMeshError } from "../../core/errors.ts";
import type { Finding } from "../../core/provider.ts";
import { findIdentities } from "./identities.ts";
import { findSsh, readSettings } from "./read-settings.ts";

const VERSION_LIMIT_MS = 5_000;

/** Never rejects. */
export async function examineSshHere(signal: AbortSignal): Promise<Finding[]> {
  return [await sshFinding(), await keysFinding(signal)];
}

async function sshFinding(): Promise<Finding> {
  const ssh = findSsh();
  if (ssh) return { check: "ssh", state: "ok", words: `${ssh}, ${await versionOf(ssh)}` };
  const words =
    "there is none: mesh logs in by itself, but knows no ssh_config, ProxyCommand, security keys or certificates";
  return { check: "ssh", state: "warning", words, fix: "install it (Debian: openssh-client)" };
}

async function versionOf(ssh: string): Promise<string> {
  const child = Bun.spawn([ssh, "-V"], { stdio: ["ignore", "ignore", "pipe"], timeout: VERSION_LIMIT_MS });
  const [line = ""] = (await new Response(child.stderr).text()).trim().split("\n");
  return line.split(",")[0] || "of an unknown version";
}

/** Of a host without settings of its own: others may name keys that are seen at their login alone. */
async function keysFinding(signal: AbortSignal): Promise<Finding> {
  const check = "keys";
  try {
    const configFile = process.env.MESH_SSH_CONFIG || undefined;
    const settings = await readSettings({ host: "localhost" }, { signal, ...(configFile && { configFile }) });
    const { utils } = (await import("ssh2")).default;
    const { offered, sealed, left, needsSystem } = await findIdentities(settings, utils.parseKey);
    const keys = [
      ...offered.map(({ label }) => label),
      ...sealed.map(({ path }) => `${path} (encrypted)`),
      ...needsSystem,
    ];
    const words = [...(keys.length > 0 ? [keys.join(", ")] : []), ...left].join("; ");
    if (keys.length > 0) return { check, state: "ok", words };
    return { check, state: "warning", words: `no key to log in by: ${words || "no file has one"}`, fix: NO_KEY_FIX };
  } catch (error) {
    if (!isMeshError(error)) throw error;
    return { check, state: "problem", words: error.message, fix: "put ~/.ssh/config right", code: error.code };
  }
}

const NO_KEY_FIX =
  "make one (ssh-keygen -t ed25519) and put it on each host (ssh-copy-id HOST), or load yours with ssh-add; hosts whose ssh_config names an IdentityFile need none of these";
