// State under kill -9, at moments a seed chooses: what is read afterwards is always whole.
import { statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { MeshCa } from "../../core/identity/ca.ts";
import { loadCredentials } from "../../core/identity/credentials.ts";
import { identityFrom } from "../../core/identity/identity.ts";
import { TokenStore } from "../../core/identity/token-store.ts";
import { Trust } from "../../core/identity/trust.ts";
import { verifyCertificate } from "../../core/identity/verify.ts";
import { randomOf } from "../support/random.ts";
import { type Folder, folder, nodeOf } from "./support.ts";

const KILLS = 8;
const SEED = 20_261_124;

/** Starts the writer, and kills it after so many turns of this process's loop once it changes things. */
async function changeAndKill(what: string, place: Folder, turns: number): Promise<void> {
  const writer = Bun.spawn([process.execPath, fileURLToPath(import.meta.resolve("./writer.ts")), what, place.path], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const reader = writer.stdout.getReader();
  const { done } = await reader.read();
  expect(done, "the writer ended by itself").toBe(false);
  for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
  writer.kill("SIGKILL");
  await writer.exited;
}

describe.each([["rotate"], ["save"], ["token"]])(`kill -9 while another process does: %s (seed ${SEED})`, (what) => {
  it("leaves a state that is whole", async () => {
    using place = folder();
    const { meshId } = await MeshCa.create(place.at("ca"), { nowMs: Date.now() });
    const random = randomOf(SEED);
    for (let kill = 0; kill < KILLS; kill++) {
      await changeAndKill(what, place, Math.floor(random() * 400));
      await checkWhole(what, place, meshId);
    }
  });
});

async function checkWhole(what: string, place: Folder, meshId: string): Promise<void> {
  const now = Date.now();
  const ca = MeshCa.open(place.at("ca"))!;
  expect(ca.meshId).toBe(meshId);
  const trust = new Trust(ca.trust(now));
  expect(verifyCertificate((await nodeOf(ca, "worker", "a", now)).certificate, trust, now).name).toBe("a");
  if (what === "save") {
    const saved = loadCredentials(place.at("joined"))!;
    expect(verifyCertificate(identityFrom(saved.credentials).certificate, trust, now).name).toBe("gpu1");
  }
  if (what === "token") {
    new TokenStore({ path: place.at("tokens.json"), ca, audit: () => {} });
    expect(statSync(place.at("tokens.json")).size).toBeGreaterThan(100);
  }
}
