// F93: what a tether does for its hosts, with Unix sockets of this machine in sshd's place.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ManualClock, systemClock } from "../../core/clock.ts";
import { MeshError } from "../../core/errors.ts";
import { waitMs } from "../../core/tether/host-tether.ts";
import { addTethered, removeTethered, tetheredHosts } from "../../core/tether/hosts-file.ts";
import { Tether, type TetherOptions } from "../../core/tether/tether.ts";
import { until } from "../support/until.ts";
import { FakeChannel } from "./support.ts";

const quiet = { info: () => {}, warn: () => {}, error: () => {} };
let folder = "";
const before = process.env.XDG_STATE_HOME;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mesh-tether-"));
  process.env.XDG_STATE_HOME = folder;
});

afterEach(() => {
  if (before === undefined) delete process.env.XDG_STATE_HOME;
  else process.env.XDG_STATE_HOME = before;
  rmSync(folder, { recursive: true, force: true });
});

const host = (name: string) => ({ name, target: `me@${name}`, socketPath: join(folder, `${name}'s.sock`) });

function tetherOf(options: Partial<TetherOptions> = {}): { tether: Tether; channels: FakeChannel[] } {
  const channels: FakeChannel[] = [];
  const connectHost = async () => {
    channels.push(new FakeChannel());
    return channels.at(-1)!;
  };
  const reach = async () => {
    throw new MeshError("AUTHENTICATION", "nobody is reached in this test");
  };
  const common = { clock: systemClock, random: () => 0, log: quiet };
  return { tether: new Tether({ meshName: "m", connect: connectHost, reach, ...common, ...options }), channels };
}

/** What is answered to a line in a tunnel, up to its end. */
function answerTo(path: string, line: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let text = "";
  const socket = connect(path);
  socket.on("data", (bytes) => {
    text += bytes;
  });
  socket.on("end", () => resolve(text)).on("error", reject);
  socket.write(line);
  return promise;
}

test("F93 hosts-file: hosts are kept by name, and no name leads out of the folder", () => {
  addTethered("m", host("a"));
  addTethered("m", host("b"));
  addTethered("m", { ...host("a"), target: "elsewhere" });
  expect(tetheredHosts("m").map(({ name, target }) => [name, target])).toEqual([
    ["a", "elsewhere"],
    ["b", "me@b"],
  ]);
  expect([removeTethered("m", "a"), removeTethered("m", "a"), removeTethered("m", "../tethered/b")]).toEqual([
    true,
    false,
    false,
  ]);
  expect(() => addTethered("m", { ...host("x"), name: "../x" })).toThrow(/cannot be/);
  expect(tetheredHosts("m").map(({ name }) => name)).toEqual(["b"]);
  expect(tetheredHosts("other")).toEqual([]);
});

test("F93 Tether: a host's socket takes the place of a stale one, and is gone when it is let go", async () => {
  const { tether, channels } = tetherOf();
  writeFileSync(host("a").socketPath, "stale");
  addTethered("m", host("a"));
  await tether.look();
  expect(await tether.told(["a"])).toEqual([{ name: "a", phase: "up" }]);
  expect(await answerTo(host("a").socketPath, "mesh-tunnel 1 tcp://10.0.0.1:22\n")).toBe(
    "no AUTHENTICATION nobody is reached in this test\n",
  );
  removeTethered("m", "a");
  await tether.look();
  expect(tether.isIdle).toBe(true);
  expect(channels[0]!.isDisposed).toBe(true);
  expect(existsSync(host("a").socketPath)).toBe(false);
});

test.each([
  ["GET / HTTP/1.0\r\n\r\n"],
  ["mesh-tunnel 2 tcp://10.0.0.1:22\n"],
  ["mesh-tunnel 1 /etc/passwd\n"],
  ["x".repeat(2_000)],
])("F93 Tether: what asks for nothing it knows is refused: %j", async (line) => {
  const { tether } = tetherOf();
  addTethered("m", host("a"));
  await tether.look();
  await tether.told(["a"]);
  expect(await answerTo(host("a").socketPath, line)).toMatch(/^no PROTOCOL /);
  await tether.close();
});

test("F93 Tether: a stream that asks for nothing is ended after its time", async () => {
  const clock = new ManualClock();
  const { tether } = tetherOf({ clock });
  addTethered("m", host("a"));
  await tether.look();
  await tether.told(["a"]);
  let isIdle = false;
  const answered = answerTo(host("a").socketPath, "mesh-tunnel").finally(() => {
    isIdle = true;
  });
  const late = async () => {
    clock.advance(1_000);
    await Bun.sleep(1);
    return isIdle;
  };
  await until(late, { what: "the end of the stream" });
  expect(await answered).toMatch(/^no TIMEOUT/);
  await tether.close();
});

test("F93 Tether: a connection that breaks is made again; one that fails says why, and is tried again at once when asked", async () => {
  const clock = new ManualClock();
  let channel = new FakeChannel();
  let isBroken = false;
  const connectHost = async () => {
    if (isBroken) throw new MeshError("UNREACHABLE", "no route to host");
    channel = new FakeChannel();
    return channel;
  };
  const { tether } = tetherOf({ clock, connect: connectHost });
  addTethered("m", host("a"));
  await tether.look();
  expect(await tether.told(["a"])).toMatchObject([{ phase: "up" }]);
  isBroken = true;
  channel.break();
  const isAway = () => tether.stateOf("a").error?.message.includes("broken by the test") === true;
  await until(isAway, { what: "the host to be away" });
  await tether.look();
  expect(await tether.told(["a"])).toMatchObject([{ phase: "away", error: { code: "UNREACHABLE" } }]);
  isBroken = false;
  await tether.look();
  expect(await tether.told(["a"])).toMatchObject([{ phase: "up" }]);
  await tether.close();
});

test("F93 waitMs: grows to 30 s, is spread, and is a minute for a host that refused the login", () => {
  const lost = new MeshError("UNREACHABLE", "");
  expect([0, 1, 2, 6, 7, 1000].map((failures) => waitMs(failures, lost, 0.5))).toEqual([
    250, 500, 1_000, 16_000, 30_000, 30_000,
  ]);
  expect([0, 0.5, 1].map((random) => waitMs(1, lost, random))).toEqual([250, 500, 750]);
  expect(waitMs(0, new MeshError("AUTHENTICATION", ""), 0.5)).toBe(60_000);
});
