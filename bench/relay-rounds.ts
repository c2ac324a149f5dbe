// Two nodes and, between them, a process that forwards: `relay-rounds.ts rate|round-trip mesh|bare|direct` prints packets that
// were forwarded in a second of the forwarder's processor time, or µs. "direct" has nobody between them.
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { encodeEchoRequest } from "../core/rendezvous/echo.ts";
import { median } from "./contender.ts";

/** A port of the forwarder; with what a node signs with, to say where it is. */
export interface ForwarderSide {
  port: number;
  id?: string;
  key?: string;
}

/** What it did since it began. */
export interface Work {
  packets: number;
  cpuSeconds: number;
}

const HOST = "127.0.0.1";
const RATE_BYTES = 1_200;
const ROUND_TRIP_BYTES = 64;
const BURST = 64;
const MEASURE_MS = 1_500;
const WARM_ROUND_TRIPS = 20_000;
/** The runtime has compiled by then what forwards. */
const WARM_PACKETS = 500_000;
const WARM_MS = 250;
const WARM_LIMIT_MS = 15_000;

const [workload, kind] = process.argv.slice(2) as ["rate" | "round-trip", "mesh" | "bare" | "direct"];
let took: (bytes: Buffer, port: number) => void = () => {};

function openPort(data: (bytes: Buffer, port: number) => void): Promise<Bun.udp.Socket<"buffer">> {
  const socket = { data: (_: unknown, bytes: Buffer, port: number) => data(bytes, port), error: () => {} };
  return Bun.udpSocket({ hostname: HOST, socket });
}

/** Starts a process of this folder; on a core of its own, if `core` is given. */
function start<Told>(file: string, args: string[], core?: number) {
  let heard = Promise.withResolvers<Told>();
  const pinned = core !== undefined && Bun.which("taskset") ? ["taskset", "-c", String(core)] : [];
  const child = Bun.spawn([...pinned, process.execPath, join(import.meta.dir, file), ...args], {
    ...{ stdout: "inherit", stderr: "inherit" },
    ipc: (told) => heard.resolve(told),
  });
  const ask = () => {
    heard = Promise.withResolvers<Told>();
    child.send("?");
    return heard.promise;
  };
  return { first: heard.promise, ask, end: () => child.kill() };
}

/** Says to the forwarder where this port is. */
function introduce(port: Bun.udp.Socket<"buffer">, { port: to, id, key }: ForwarderSide): void {
  const request = (name: string) => ({
    id: Uint8Array.fromHex(name),
    transaction: randomBytes(8),
    fromOtherPort: false,
  });
  const bytes = id && key ? encodeEchoRequest(request(id), Uint8Array.fromHex(key)) : "here";
  port.send(bytes, to, HOST);
}

async function rate(): Promise<number> {
  const forwarder = start<ForwarderSide[] | Work>("relay-forwarder.ts", [kind], 0);
  const [near, far] = (await forwarder.first) as [ForwarderSide, ForwarderSide];
  const [source, sink] = [await openPort(() => {}), await openPort(() => {})];
  introduce(source, near);
  introduce(sink, far);
  const packet = new Uint8Array(RATE_BYTES).fill(7);
  const burst = Array.from({ length: BURST }, () => [packet, near.port, HOST]).flat();
  const flood = async (ms: number) => {
    for (const end = performance.now() + ms; performance.now() < end; ) {
      source.sendMany(burst);
      await new Promise((resolve) => setImmediate(resolve)); // the sink reads
    }
  };
  let before = (await forwarder.ask()) as Work;
  for (const end = performance.now() + WARM_LIMIT_MS; before.packets < WARM_PACKETS && performance.now() < end; ) {
    await flood(WARM_MS);
    before = (await forwarder.ask()) as Work;
  }
  await flood(MEASURE_MS);
  const after = (await forwarder.ask()) as Work;
  forwarder.end();
  return (after.packets - before.packets) / (after.cpuSeconds - before.cpuSeconds);
}

/** In a second process: answers what comes, with the same. */
async function answer(to: ForwarderSide | undefined): Promise<void> {
  const port = await openPort((bytes, from) => void port.send(bytes, from, HOST));
  if (to) introduce(port, to);
  process.send!(port.port);
}

async function roundTrip(): Promise<number> {
  const forwarder = kind === "direct" ? undefined : start<ForwarderSide[]>("relay-forwarder.ts", [kind]);
  const [near, far] = (await forwarder?.first) ?? [];
  const answerer = start<number>("relay-rounds.ts", ["answer", JSON.stringify(far ?? null)]);
  const direct = await answerer.first;
  const port = await openPort((bytes, from) => took(bytes, from));
  if (near) introduce(port, near);
  const packet = new Uint8Array(ROUND_TRIP_BYTES).fill(7);
  const once = () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    took = (bytes) => bytes.length === ROUND_TRIP_BYTES && resolve();
    port.send(packet, near?.port ?? direct, HOST);
    return promise;
  };
  for (let i = 0; i < WARM_ROUND_TRIPS; i++) await once();
  const values: number[] = [];
  for (const end = performance.now() + MEASURE_MS; performance.now() < end; ) {
    const begin = performance.now();
    await once();
    values.push(1_000 * (performance.now() - begin));
  }
  forwarder?.end();
  answerer.end();
  return median(values);
}

if (process.argv[2] === "answer") await answer(JSON.parse(process.argv[3]!) ?? undefined);
else {
  console.log(workload === "rate" ? await rate() : await roundTrip());
  process.exit();
}
