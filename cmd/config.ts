// mesh config: check a mesh.toml, print its schema.
import { Command } from "@commander-js/extra-typings";
import { CONFIG_NAME, checkConfig, findConfig } from "../core/config/mod.ts";
import { MeshError } from "../core/errors.ts";

/** `mesh config check` and `mesh config schema`. */
export function command() {
  const config = new Command("config").description("Check mesh.toml, print its schema.").helpCommand(false);
  config
    .command("check")
    .description("Check a mesh.toml and tell everything that is wrong with it.")
    .argument("[file]", `the file; default: the nearest ${CONFIG_NAME}, here or above`)
    .option("--json", "print as JSON: { file, ok, hosts, problems }")
    .action((file, options) => check(file ?? findConfig(), options.json === true));
  config
    .command("schema")
    .description("Print the JSON Schema of mesh.toml, for editors: `mesh config schema > mesh.schema.json`.")
    .option("--json", "accepted for symmetry: the schema is JSON")
    .action(printSchema);
  return config;
}

async function check(file: string | undefined, json: boolean): Promise<void> {
  if (file === undefined) {
    const tried = `no ${CONFIG_NAME} in ${process.cwd()} or a folder above it`;
    throw new MeshError("CONFIG", `${tried}: name one, or let \`mesh init\` write one`);
  }
  const result = await checkConfig(file);
  const ok = "config" in result;
  if (!json && !ok) throw new MeshError("CONFIG", result.text);
  const hosts = ok ? result.config.hosts.map((host) => host.name) : [];
  if (json) console.log(JSON.stringify({ file, ok, hosts, problems: ok ? [] : result.problems }));
  else console.log(`${file}: right; ${hosts.length === 1 ? "1 host" : `${hosts.length} hosts`}`);
  if (!ok) process.exitCode = 2;
}

async function printSchema(): Promise<void> {
  const { jsonSchema } = await import("../core/config/schema.ts");
  console.log(JSON.stringify(jsonSchema(), null, 2));
}
