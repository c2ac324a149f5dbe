// Changes a state folder for ever, in a process of its own that is killed in the middle: `writer.ts WHAT FOLDER`.
// Says "ready" once the first change is whole.
import { MeshCa } from "../../core/identity/ca.ts";
import { saveCredentials } from "../../core/identity/credentials.ts";
import { createKeyPair } from "../../core/identity/keys.ts";
import { TokenStore } from "../../core/identity/token-store.ts";

const [what, folder] = process.argv.slice(2) as [string, string];
const nowMs = Date.now();

const changes: Record<string, (ca: MeshCa) => Promise<void>> = {
  rotate: (ca) => ca.rotate({ nowMs, overlapMs: 1 }),
  async save(ca) {
    const { publicKey, keyPem } = createKeyPair();
    const certificatePem = await ca.issue({ role: "worker", name: "gpu1", publicKey }, { nowMs });
    const credentials = { caPem: ca.trust(nowMs), certificatePem, keyPem };
    const { meshId } = ca;
    const coordinators = ["tcp://127.0.0.1:7450"];
    saveCredentials(`${folder}/joined`, {
      meshId,
      meshName: "lab",
      role: "worker",
      name: "gpu1",
      coordinators,
      credentials,
    });
  },
  async token(ca) {
    const store = new TokenStore({ path: `${folder}/tokens.json`, ca, audit: () => {} });
    store.create({ role: "worker" }, nowMs);
  },
};

const ca = MeshCa.open(`${folder}/ca`)!;
for (let n = 0; ; n++) {
  await changes[what]!(ca);
  if (n === 0) process.stdout.write("ready\n");
}
