// `mesh binary PLATFORM`: makes the binary of this build for another platform, and prints where it is. Not for people: `mesh up`
// does it by itself.
import { PLATFORMS, platformName } from "../../core/binary/platform.ts";
import { BinaryStore } from "../../core/binary/store.ts";
import { MeshError } from "../../core/errors.ts";

export async function main([name]: string[]): Promise<number> {
  const platform = PLATFORMS.find((each) => platformName(each) === name);
  if (!platform) throw new MeshError("USAGE", `say for which platform: ${PLATFORMS.map(platformName).join(", ")}`);
  const binary = await new BinaryStore().binary(platform, { progress: (text) => process.stderr.write(`${text}\n`) });
  const { path, sha256, sizeBytes } = binary;
  console.log(JSON.stringify({ path, sha256, sizeBytes }));
  return 0;
}
