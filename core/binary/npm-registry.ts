// Where this user gets npm packages from: npm's own settings, as far as a download needs them.
import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface Registry {
  /** Without a slash at its end. */
  url: string;
  /** A header, for registries that want to know who asks. */
  authorization?: string;
  /** Certificates to trust beside the system's, in PEM. */
  ca?: string;
}

type Environment = Record<string, string | undefined>;

/** The registry of packages of `scope` ("@oven"), by the environment, ~/.npmrc, else npm's. */
export function registryOf(scope: string, env: Environment = process.env): Registry {
  const settings = npmrc(env);
  const fromEnvironment = env.npm_config_registry ?? env.NPM_CONFIG_REGISTRY;
  const given = settings.get(`${scope}:registry`) ?? fromEnvironment ?? settings.get("registry");
  const url = (given || "https://registry.npmjs.org").replace(/\/+$/, "");
  const authorization = authorizationFor(url, settings);
  const caFile = env.npm_config_cafile ?? settings.get("cafile");
  const ca = caFile && readIfThere(caFile);
  return { url, ...(authorization && { authorization }), ...(ca && { ca }) };
}

function npmrc(env: Environment): Map<string, string> {
  const path = env.npm_config_userconfig ?? env.NPM_CONFIG_USERCONFIG ?? join(env.HOME ?? "/", ".npmrc");
  const lines = (readIfThere(path) ?? "").split("\n").map((line) => line.trim());
  return new Map(lines.filter((line) => !/^[#;]/.test(line)).flatMap((line) => entryIn(line, env)));
}

function entryIn(line: string, env: Environment): [string, string][] {
  const at = line.indexOf("=");
  if (at < 0) return [];
  const value = line
    .slice(at + 1)
    .trim()
    .replace(/^"(.*)"$/, "$1");
  return [[line.slice(0, at).trim(), value.replace(/\$\{(\w+)\}/g, (_, name) => env[name] ?? "")]];
}

/** npm keeps them by the registry's address without its protocol: "//host/path/:_authToken". */
function authorizationFor(url: string, settings: ReadonlyMap<string, string>): string | undefined {
  const place = `${url.replace(/^https?:/, "")}/`;
  const token = settings.get(`${place}:_authToken`);
  const basic = settings.get(`${place}:_auth`);
  return token ? `Bearer ${token}` : basic && `Basic ${basic}`;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
