// Beacon and listener over real sockets, on loopback alone. Two machines are in hosts.test.ts.
import { afterAll, beforeAll, expect, it } from "vitest";
import { ManualClock, systemClock } from "../../core/clock.ts";
import { type BeaconOptions, type RunningBeacon, startBeacon } from "../../core/discovery/announce.ts";
import { DATAGRAM_LIMIT_BYTES, encodeProbe, parseDatagram } from "../../core/discovery/datagram.ts";
import { type FindOptions, findMesh, watchMesh } from "../../core/discovery/find.ts";
import type { FoundMesh } from "../../core/discovery/gate.ts";
import type { LanInterface } from "../../core/discovery/interfaces.ts";
import { type Identity, identityFrom } from "../../core/identity/identity.ts";
import { createKeyPair } from "../../core/identity/keys.ts";
import { Trust } from "../../core/identity/trust.ts";
import { NOW, nodeOf, rejectionOf, type TestMesh, testMesh } from "../identity/support.ts";
import { randomOf } from "../support/random.ts";
import { until } from "../support/until.ts";
import { beaconOf, freePort, loopback, type Stranger, stranger } from "./support.ts";

let mesh: TestMesh;
let other: TestMesh;
let coordinator: Identity;

beforeAll(async () => {
  mesh = await testMesh();
  other = await testMesh();
  coordinator = await nodeOf(mesh.ca, "coordinator", "coordinator");
});

afterAll(() => {
  mesh[Symbol.dispose]();
  other[Symbol.dispose]();
});

const ADDRESSES = ["tcp://10.0.0.1:7450"];
const wallClock = () => NOW;

/** A beacon whose beats a ManualClock gives: without that it speaks once, and answers. */
function beacon(port: number, changes: Partial<BeaconOptions> = {}): Promise<RunningBeacon> {
  const base = { identity: () => coordinator, node: 4711, meshName: "lab", addresses: () => ADDRESSES };
  return startBeacon({ ...base, clock: new ManualClock(), wallClock, port, interfaces: loopback, ...changes });
}

function options(port: number, changes: Partial<FindOptions> = {}): FindOptions {
  const knownBy = { trust: new Trust(mesh.ca.certificatePem) };
  return { meshId: mesh.ca.meshId, knownBy, clock: systemClock, wallClock, port, interfaces: loopback, ...changes };
}

it("findMesh (F10): finds a beacon that was there before, because it asks", async () => {
  const port = await freePort();
  using running = await beacon(port);
  const found = await findMesh(options(port));
  expect(found).toEqual({
    meshId: mesh.ca.meshId,
    meshName: "lab",
    node: 4711,
    coordinator: "coordinator",
    addresses: ADDRESSES,
    from: "127.0.0.1",
  });
  expect(running.answered).toBeGreaterThan(0);
});

it("findMesh (F10): who has only a join token finds its mesh, and no other", async () => {
  const port = await freePort();
  using _running = await beacon(port);
  const { meshId } = mesh.ca;
  expect((await findMesh(options(port, { knownBy: { pin: mesh.ca.pin } }))).addresses).toEqual(ADDRESSES);
  const wrong = await rejectionOf(
    "UNREACHABLE",
    findMesh(options(port, { knownBy: { pin: other.ca.pin }, timeoutMs: 100 })),
  );
  expect(wrong).toContain(`no coordinator of mesh ${meshId} was found within 100 ms (UDP port ${port}`);
  expect(wrong).toContain("a beacon with its id was ignored: its CA is not that of the join token");
  expect(wrong).toContain("start it with --discoverable");
});

it("findMesh (F10): several listeners of one machine share the port", async () => {
  const port = await freePort();
  const searches = [1, 2, 3].map(() => findMesh(options(port)));
  using _running = await beacon(port);
  const found = await Promise.all(searches);
  expect(found.map(({ node }) => node)).toEqual([4711, 4711, 4711]);
});

it("startBeacon (F10): beats reach those who listen without asking", async () => {
  const port = await freePort();
  const clock = new ManualClock();
  const heard: FoundMesh[] = [];
  // Its own clock stands still: it asks once, before there is anybody to answer.
  using watch = await watchMesh({ ...options(port), clock: new ManualClock(), found: (each) => heard.push(each) });
  let addresses = ["tcp://10.0.0.1:7450"];
  using _running = await beacon(port, { clock, addresses: () => addresses });
  await until(() => heard.length === 1, { what: "the first beacon" });
  const { old } = watch.ignored;
  clock.advance(2_000);
  await until(() => watch.ignored.old > old, { what: "the second beacon, by multicast and by broadcast" });
  expect(heard.length).toBe(1); // nothing new in it
  addresses = ["tcp://10.0.0.2:7450"];
  clock.advance(2_000);
  await until(() => heard.length === 2, { what: "the changed addresses" });
  expect(heard[1]?.addresses).toEqual(["tcp://10.0.0.2:7450"]);
  expect(watch.mesh).toEqual(heard[1]);
});

it("startBeacon (F10): speaks with the certificate the coordinator has now, and brings the CA that signed it", async () => {
  using rotating = await testMesh();
  const { ca } = rotating;
  const before = await nodeOf(ca, "coordinator", "coordinator");
  const oldPin = ca.pin;
  await ca.rotate({ nowMs: NOW });
  const { publicKey, keyPem } = createKeyPair();
  const certificatePem = await ca.issue({ role: "coordinator", name: "coordinator", publicKey }, { nowMs: NOW });
  const after = identityFrom({ caPem: ca.trust(NOW), certificatePem, keyPem });
  let identity = identityFrom({ ...before.credentials, caPem: ca.trust(NOW) });
  const port = await freePort();
  const clock = new ManualClock();
  using _running = await beacon(port, { clock, identity: () => identity });
  const { meshId } = ca;
  const base = options(port, { meshId, knownBy: { pin: oldPin } });
  expect((await findMesh(base)).node).toBe(4711);
  identity = after;
  clock.advance(2_000);
  expect((await findMesh({ ...base, knownBy: { pin: ca.pin } })).node).toBe(4711);
});

/** Sends a probe of so many bytes to the beacon. */
async function probe(from: Stranger, port: number, meshId: string, length = DATAGRAM_LIMIT_BYTES): Promise<void> {
  await from.send(encodeProbe(meshId).subarray(0, length), port);
}

it("startBeacon (F10): answers no more than it is sent, no other mesh's probes, and each address five times a second", async () => {
  const port = await freePort();
  const clock = new ManualClock();
  using running = await beacon(port, { clock });
  using asking = await stranger();
  const { meshId } = mesh.ca;
  await probe(asking, port, meshId, 600);
  await until(() => running.unanswered === 1, { what: "the small probe to be left" });
  await probe(asking, port, other.ca.meshId);
  for (let n = 0; n < 20; n++) await probe(asking, port, meshId);
  await until(() => running.answered + running.unanswered === 21, { what: "all probes to be taken" });
  expect(running).toMatchObject({ answered: 5, unanswered: 16 });
  await until(() => asking.heard.length === 5, { what: "the answers" });
  for (const answer of asking.heard) expect(answer.length).toBeLessThanOrEqual(DATAGRAM_LIMIT_BYTES);
  expect(parseDatagram(asking.heard[0]!)?.kind).toBe("beacon");
  clock.advance(1_000);
  await probe(asking, port, meshId);
  await until(() => running.answered === 6, { what: "the next second's answer" });
});

it("startBeacon (F10): does not answer who is in none of its networks", async () => {
  const port = await freePort();
  const elsewhere: LanInterface = { name: "lo", address: "127.0.0.1", netmask: "255.255.255.255" };
  using running = await beacon(port, { interfaces: () => [elsewhere] });
  using outside = await stranger({ address: "127.0.0.2" });
  await probe(outside, port, mesh.ca.meshId);
  await until(() => running.unanswered === 1, { what: "the probe to be left" });
  using inside = await stranger();
  await probe(inside, port, mesh.ca.meshId);
  await until(() => inside.heard.length === 1, { what: "the answer" });
  expect(outside.heard).toEqual([]);
});

it("startBeacon (F10): somebody who asks and is gone again does not end it", async () => {
  const port = await freePort();
  using running = await beacon(port);
  {
    using gone = await stranger();
    await probe(gone, port, mesh.ca.meshId);
  }
  await until(() => running.answered === 1, { what: "the answer, which the kernel refuses" });
  expect((await findMesh(options(port))).node).toBe(4711);
});

it("findMesh (F10): garbage, oversized, forged and other meshes' datagrams do not keep it from its own (seeded)", async () => {
  const port = await freePort();
  const impostor = await nodeOf(other.ca, "coordinator", "coordinator");
  using attacker = await stranger();
  using watch = await watchMesh({ ...options(port), found: () => {} });
  const random = randomOf(7449);
  const noise = [
    beaconOf(other.ca, impostor),
    beaconOf(other.ca, impostor, { meshId: mesh.ca.meshId }),
    new Uint8Array(0),
    new Uint8Array(60_000),
    ...Array.from({ length: 60 }, () => {
      const bytes = new Uint8Array(Math.floor(random() * 2_000));
      for (let at = 0; at < bytes.length; at++) bytes[at] = Math.floor(random() * 256);
      return bytes;
    }),
  ];
  const total = () => Object.values(watch.ignored).reduce((sum, count) => sum + count, 0);
  for (const [n, bytes] of noise.entries()) {
    await attacker.send(bytes, port);
    // One by one, so that the kernel's buffer loses none; its own probes come besides.
    await until(() => total() > n, { what: `datagram ${n}` });
  }
  expect(watch.mesh).toBeUndefined();
  using _running = await beacon(port);
  await until(() => watch.mesh !== undefined, { what: "the mesh" });
  expect(watch.ignored.forged).toBe(1);
  expect(watch.ignored.malformed).toBeGreaterThanOrEqual(62);
});

it("findMesh (F10): ends at once with its signal, and with its time", async () => {
  const port = await freePort();
  expect(await rejectionOf("CANCELLED", findMesh(options(port, { signal: AbortSignal.abort() })))).toContain(
    "given up",
  );
  const controller = new AbortController();
  const search = rejectionOf("CANCELLED", findMesh(options(port, { signal: controller.signal })));
  controller.abort();
  expect(await search).toContain(mesh.ca.meshId);
  const clock = new ManualClock();
  const late = rejectionOf("UNREACHABLE", findMesh(options(port, { clock })));
  clock.advance(9_999);
  clock.advance(1);
  expect(await late).toContain("within 10000 ms");
});

it("findMesh, startBeacon (F10): where a stranger has the port, they say so, and still find each other's answers", async () => {
  using taken = await stranger({ address: "0.0.0.0" });
  const warnings: string[] = [];
  using running = await beacon(taken.port, { warn: (text) => warnings.push(text) });
  expect(warnings).toEqual([expect.stringMatching(/^UDP port \d+ cannot be used \(EADDRINUSE\)/)]);
  const failed = await rejectionOf("UNREACHABLE", findMesh(options(taken.port, { timeoutMs: 100 })));
  expect(failed).toContain("EADDRINUSE");
  expect(running.answered).toBe(0);
});

it("findMesh (F10): asks from a port of its own, so that the answer finds it where the shared one is taken", async () => {
  using taken = await stranger({ address: "0.0.0.0" });
  const { port } = taken;
  const answer = beaconOf(mesh.ca, coordinator);
  // Stands for a coordinator whose machine has the port free: here only one socket can have it.
  taken.socket.on("message", (bytes, from) => {
    if (parseDatagram(bytes)?.kind === "probe") taken.socket.send(answer, from.port, from.address);
  });
  expect((await findMesh(options(port))).node).toBe(4711);
});

it("startBeacon (F10): once the stranger has left the port, it is taken up", async () => {
  const taken = await stranger({ address: "0.0.0.0" });
  const clock = new ManualClock();
  using running = await beacon(taken.port, { clock });
  taken[Symbol.dispose]();
  using asking = await stranger();
  await until(
    async () => {
      clock.advance(2_000);
      await probe(asking, taken.port, mesh.ca.meshId).catch(() => {}); // refused while nobody has the port
      return running.answered > 0;
    },
    { what: "an answer" },
  );
});

it("startBeacon (F10): no interface, one that is gone, and none to be listed are warnings, once, until it works again", async () => {
  const port = await freePort();
  const clock = new ManualClock();
  const warnings: string[] = [];
  const nowhere: LanInterface = { name: "eth9", address: "203.0.113.9", netmask: "255.255.255.0" };
  let interfaces: () => LanInterface[] = () => [];
  using running = await beacon(port, { clock, interfaces: () => interfaces(), warn: (text) => warnings.push(text) });
  expect(warnings).toEqual(["this machine has no network interface with IPv4"]);
  const beatsUntil = (condition: () => boolean, what: string) =>
    until(
      () => {
        clock.advance(2_000);
        return condition();
      },
      { what },
    );
  interfaces = () => [nowhere];
  await beatsUntil(() => warnings.length === 2, "the warning of eth9");
  expect(warnings[1]).toBe("no socket for discovery on eth9 (EADDRNOTAVAIL)");
  interfaces = () => {
    throw Object.assign(new Error("not permitted"), { code: "EPERM" });
  };
  await beatsUntil(() => warnings.length === 3, "the warning of the list");
  expect(warnings[2]).toBe("the network interfaces of this machine cannot be listed (EPERM)");
  interfaces = loopback;
  let found: FoundMesh | undefined;
  using _watch = await watchMesh({ ...options(port), found: (each) => (found = each) });
  await beatsUntil(() => found !== undefined, "a beacon over what is left");
  expect(warnings.length).toBe(3);
  expect(running.unanswered).toBe(0);
});

it("startBeacon (F10): with nothing to say it says nothing, tells once, and speaks when there is", async () => {
  const port = await freePort();
  const clock = new ManualClock();
  const warnings: string[] = [];
  let addresses: string[] = [];
  using running = await beacon(port, { clock, addresses: () => addresses, warn: (text) => warnings.push(text) });
  clock.advance(4_000);
  using asking = await stranger();
  await probe(asking, port, mesh.ca.meshId);
  expect(warnings).toEqual([expect.stringMatching(/^discovery: nothing is announced: .* 0 addresses/)]);
  addresses = ADDRESSES;
  clock.advance(2_000);
  expect((await findMesh(options(port))).addresses).toEqual(ADDRESSES);
  expect(running.answered).toBeGreaterThan(0);
});

it("watchMesh, startBeacon (F10): once closed they hear and send no more, and leave the port", async () => {
  const port = await freePort();
  const running = await beacon(port);
  const watch = await watchMesh({ ...options(port), found: () => {} });
  await until(() => watch.mesh !== undefined, { what: "the mesh" });
  running.close();
  watch.close();
  running.close();
  // Not shared: it can be had only when nobody else has it.
  await until(
    async () => {
      try {
        using _all = await stranger({ port, address: "0.0.0.0" });
        return true;
      } catch {
        return false;
      }
    },
    { what: "the port to be free" },
  );
});
