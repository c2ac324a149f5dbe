// Who shows no certificate, a wrong one, or somebody else's: not one message of it is taken.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../core/clock.ts";
import { type Credentials, type Identity, identityFrom } from "../../core/identity/identity.ts";
import { verifySignature } from "../../core/identity/keys.ts";
import { Trust } from "../../core/identity/trust.ts";
import { verifyCertificate } from "../../core/identity/verify.ts";
import { newNodeNumber } from "../../core/node/number.ts";
import { Peers } from "../../core/session/peers.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { TcpTransport } from "../../transports/tcp/tcp-transport.ts";
import { TestCa } from "../support/certificates.ts";
import { TestMesh } from "../support/test-mesh.ts";
import { Attacker, identityIn, transportOf } from "./attacker.ts";
import { ByHand, type GreetingWords } from "./by-hand.ts";
import { areWell, type Victim, victimsOf } from "./victims.ts";

let mesh: TestMesh;
let ca: TestCa;
let victims: { coordinator: Victim; worker: Victim; all: Victim[] };
let evil: Identity;

beforeAll(async () => {
  mesh = await TestMesh.start({ workers: { w1: 1, w2: 1 } });
  ca = TestCa.open(join(mesh.state, "ca"));
  victims = await victimsOf(mesh);
  evil = await identityIn(mesh, "worker", "evil");
  for (const victim of victims.all) victim.watch();
});

afterAll(async () => {
  await mesh[Symbol.asyncDispose]();
});

/** What becomes of somebody who shows these credentials in TLS and greets with `words`: the code of a refusal, or "closed". */
async function outcome(address: string, shown: Credentials | undefined, words: GreetingWords = {}): Promise<string> {
  const transport = new TcpTransport({ credentials: () => shown });
  let client: ByHand;
  try {
    client = await ByHand.dial(transport, address);
  } catch {
    return "closed";
  }
  const challenge = await client.challenge().catch(() => undefined);
  if (challenge) client.link.send(client.greeting(shown ? identityFrom(shown) : evil, challenge, words));
  await client.over();
  expect(client.frames.map((frame) => frame[0])).not.toContain(MessageType.welcome);
  return client.refusal?.code ?? "closed";
}

describe("X22 certificates that are not good", () => {
  test.each<[string, () => Promise<Credentials> | undefined]>([
    ["none", () => undefined],
    ["of another mesh's CA", async () => (await TestCa.make()).issue("w9")],
    ["expired", () => ca.expired("w9")],
    ["of the future", () => ca.future("w9")],
    ["for servers only", () => ca.odd({ usages: ["server"] })],
    ["for clients only", () => ca.odd({ usages: ["client"] })],
  ])("%s: no word of it is taken", async (_, make) => {
    const shown = await make();
    const { coordinator, worker } = victims;
    // TLS takes one for clients from a client; the handshake does not.
    expect(["CERTIFICATE", "closed"]).toContain(await outcome(worker.address, shown));
    expect(["STRANGER", "CERTIFICATE", "closed"]).toContain(await outcome(coordinator.address, shown));
  });
});

describe("X22 somebody else's name", () => {
  test("a certificate that is not the one of TLS, a key that is not the certificate's, a greeting heard elsewhere: refused", async () => {
    const w1 = await identityOf("w1");
    for (const { address } of victims.all) {
      const own = evil.credentials;
      expect(await outcome(address, own, { certificate: w1.certificate })).toBe("CERTIFICATE");
      expect(await outcome(address, own, { sign: w1.sign })).toBe("SIGNATURE");
      expect(await outcome(address, own, { tlsLeaf: w1.certificate })).toBe("SIGNATURE");
      expect(await outcome(address, own, { to: 99 })).toBe("IDENTITY");
      const first = await ByHand.dial(transportOf(evil), address);
      const heard = first.greeting(evil, await first.challenge());
      const second = await ByHand.dial(transportOf(evil), address);
      await second.challenge();
      second.link.send(heard);
      await second.over();
      expect(second.refusal?.code).toBe("SIGNATURE");
      first.link.destroy(new Error("done"));
    }
  });

  test("another node's certificate appended to the chain: who it is stays who holds the key", async () => {
    const w1 = await identityOf("w1");
    const credentials = {
      ...evil.credentials,
      certificatePem: evil.credentials.certificatePem + w1.credentials.certificatePem,
    };
    for (const { address } of victims.all) {
      expect(await outcome(address, credentials, { certificate: w1.certificate })).toBe("CERTIFICATE");
      const client = await ByHand.session(new TcpTransport({ credentials: () => credentials }), address, evil);
      client.link.destroy(new Error("done"));
    }
    await mesh.coordinator.prints(/node connected name=evil role=worker/, "stderr");
  });

  test("X22 who dials knows whom it meant: another name, role or node that answers is left", async () => {
    await using client = new Attacker({ identity: evil });
    await expect(client.connect(victims.worker.address, { name: "w2" })).rejects.toMatchObject({
      code: "AUTHENTICATION",
      message: expect.stringMatching(/w2 was dialed.* w1 answered/),
    });
    await expect(client.connect(victims.worker.address, { role: "coordinator" })).rejects.toMatchObject({
      code: "AUTHENTICATION",
    });
    await using stranger = new Attacker({ identity: identityFrom(await (await TestCa.make()).issue("w9")) });
    await expect(stranger.connect(victims.worker.address)).rejects.toMatchObject({
      message: expect.stringMatching(/belongs to another mesh/),
    });
    expect(await identityIn(mesh, "worker", "w1").catch((error) => error.message)).toMatch(
      /named w1 is in the mesh already/,
    );
  });
});

test("X25 another version of the protocol: the refusal names both builds and what to do", async () => {
  const { sign, certificate, meshId, role, name, credentials } = evil;
  const trust = new Trust(credentials.caPem);
  const verify = (der: Uint8Array) => verifyCertificate(der, trust, Date.now());
  const transport = transportOf(evil);
  const peers = new Peers({
    self: { node: newNodeNumber(), name, role, meshId, build: "9.9.9 (abcdef)" },
    addresses: () => [],
    identity: () => ({ sign, certificate }),
    verify,
    verifySignature: (der, bytes, signature) => verifySignature(verify(der).publicKey, bytes, signature),
    dial: (address, options) => transport.dial(address, options),
    clock: systemClock,
    random: Math.random,
    onSession: () => {},
    protocol: [77, 78],
  });
  for (const { address } of victims.all) {
    const error = await peers
      .connect([address], {}, { once: true })
      .catch((caught: Error & { code: string }) => caught);
    expect(error).toMatchObject({ code: "PROTOCOL" });
    expect((error as Error).message).toMatch(
      /9\.9\.9 \(abcdef\) with protocol 77 to 78.*with protocol \d+.*same build.*`mesh up`/,
    );
  }
  expect(await outcome(victims.worker.address, evil.credentials, { protocol: [77, 78] })).toBe("VERSION");
  await peers.close();
});

test("X22 after all that: both live and do their work", async () => {
  await areWell(mesh, victims.all);
});

/** Another certificate for a node that is there: as if its key had been stolen. */
async function identityOf(name: string): Promise<Identity> {
  return identityFrom(await ca.issue(name));
}
