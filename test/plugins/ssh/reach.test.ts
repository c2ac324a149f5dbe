// The way to a host: jump hosts, hosts that cannot be reached, sshd that drops logins, giving up.
import { writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { connectSsh } from "../../../plugins/ssh/connect.ts";
import { Dialing } from "../../../plugins/ssh/dialing.ts";
import { missingForLab } from "../../lab/namespaces.ts";
import { makeKey, noSshd, publicLine, type Sshd, startSshd } from "../../support/sshd.ts";
import { until } from "../../support/until.ts";
import { connectTo, failure, output, skipNote } from "./support.ts";

/** An ssh_config of hosts with lines of their own before their usual ones. */
function configOf(folder: string, hosts: [sshd: Sshd, ...lines: string[]][]): string {
  const path = join(folder, "hosts");
  writeFileSync(path, hosts.map(([sshd, ...lines]) => sshd.configBlock(lines)).join("\n"));
  return path;
}

function connections(sshd: Sshd): number {
  return sshd.log().split("Accepted publickey").length - 1;
}

/** A server that never speaks SSH, on a free port of loopback. */
async function listener(onConnection: Parameters<typeof createServer>[1]): Promise<AsyncDisposable & { port: number }> {
  const server: Server = createServer(onConnection);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as { port: number }).port,
    [Symbol.asyncDispose]: async () => void server.close(),
  };
}

describe.skipIf(noSshd)(`ProxyJump${skipNote}`, () => {
  test("F3 two hops, each with its own settings; the target is reached from the last", async () => {
    await using first = await startSshd({ name: "first" });
    await using second = await startSshd({ name: "second" });
    await using target = await startSshd({ name: "target" });
    const configFile = configOf(first.folder, [
      [first],
      [second, "ProxyJump none"],
      [target, "ProxyJump first,second"],
    ]);
    await using connection = await connectSsh("target", { configFile });
    expect(await output(connection, "echo $HOME")).toBe(`${target.home}\n`);
    expect([first, second, target].map(connections)).toEqual([1, 1, 1]);
    expect(target.log()).toContain(`Connection from 127.0.0.1`);
    expect(second.log()).toContain("server_request_direct_tcpip");
  });

  test("a jump host that has one itself; all hosts behind it share its connection, which ends with the last", async () => {
    await using outer = await startSshd({ name: "outer" });
    await using inner = await startSshd({ name: "inner" });
    await using a = await startSshd({ name: "a" });
    await using b = await startSshd({ name: "b" });
    const jump = "ProxyJump inner";
    const configFile = configOf(outer.folder, [[outer], [inner, "ProxyJump outer"], [a, jump], [b, jump]]);
    const dialing = new Dialing();
    const both = await Promise.all(["a", "b"].map((name) => connectSsh(name, { configFile, dialing })));
    expect(await Promise.all(both.map((one) => output(one, "echo $HOME")))).toEqual([`${a.home}\n`, `${b.home}\n`]);
    expect([outer, inner].map(connections)).toEqual([1, 1]);
    await both[0]![Symbol.asyncDispose]();
    expect(await output(both[1]!, "echo still here")).toBe("still here\n");
    await both[1]![Symbol.asyncDispose]();
    await until(() => /Received disconnect|Disconnected from/.test(outer.log()), { what: "the end of the jump" });
    await using again = await connectSsh("a", { configFile, dialing });
    expect(await output(again, "echo back")).toBe("back\n");
  });

  test("X28 each hop is verified: nothing goes through one that shows another key", async () => {
    await using jump = await startSshd({ name: "jump" });
    await using target = await startSshd({ name: "target" });
    const configFile = configOf(jump.folder, [[jump], [target, "ProxyJump jump"]]);
    const known = `[${jump.address}]:${jump.port}`;
    writeFileSync(jump.knownHosts, `${known} ${publicLine(makeKey(join(jump.folder, "other")))}\n`);
    expect(await failure("AUTHENTICATION", connectSsh("target", { configFile }))).toContain(
      "the host key of jump has changed",
    );
    expect(jump.log()).not.toContain("userauth-request");
    expect(target.log()).not.toContain("Connection from");
    writeFileSync(jump.knownHosts, `${known} ${jump.hostKeys[0]}\n`);
    writeFileSync(target.knownHosts, "");
    expect(await failure("AUTHENTICATION", connectSsh("target", { configFile }))).toContain("target is not known");
    expect(target.log()).not.toContain("userauth-request");
  });

  test("a target that the jump host cannot reach; a circle", async () => {
    await using jump = await startSshd({ name: "jump" });
    await using target = await startSshd({ name: "target" });
    const lines = ["ProxyJump jump", "Port 1"];
    const configFile = configOf(jump.folder, [[jump], [target, ...lines]]);
    const message = await failure("UNREACHABLE", connectSsh("target", { configFile }));
    expect(message).toContain("sshd of jump refused 127.0.0.1:1");
    const circle = configOf(jump.folder, [
      [jump, "ProxyJump target"],
      [target, "ProxyJump jump"],
    ]);
    expect(await failure("CONFIG", connectSsh("target", { configFile: circle }))).toContain(
      "target needs jump needs target",
    );
  });

  test("a jump host that forbids it: says which of its settings", async () => {
    await using jump = await startSshd({ name: "jump", config: ["AllowTcpForwarding no"] });
    await using target = await startSshd({ name: "target" });
    const configFile = configOf(jump.folder, [[jump], [target, "ProxyJump jump"]]);
    expect(await failure("UNREACHABLE", connectSsh("target", { configFile }))).toContain("AllowTcpForwarding");
  });
});

describe.skipIf(noSshd)(`hosts out of reach${skipNote}`, () => {
  test("refused, unknown name and silence are told apart", async () => {
    await using sshd = await startSshd();
    await using mute = await listener(() => {});
    const refused = await failure("UNREACHABLE", connectTo(sshd, { lines: ["Port 1"] }));
    expect(refused).toContain("127.0.0.1 refuses connections on port 1");
    const unknown = await failure("UNREACHABLE", connectTo(sshd, { lines: ["HostName nowhere.invalid"] }));
    expect(unknown).toContain('no address is known for "nowhere.invalid"');
    const silent = await failure(
      "UNREACHABLE",
      connectTo(sshd, { lines: [`Port ${mute.port}`], connectTimeoutMs: 200 }),
    );
    expect(silent).toContain("it took the connection but said no word of SSH within 0.2 s");
  });

  test.skipIf(missingForLab())("a refusal, a way that leads nowhere and no way at all are told apart", async () => {
    const path = new URL("../../../plugins/ssh/dial-tcp.ts", import.meta.url).pathname;
    const script = `import { dialTcp } from "${path}";
      for (const hostName of ["127.0.0.1", "10.1.2.3", "11.1.2.3", "fd00::1"])
        await dialTcp({ hostName, port: 1 }).made.catch((error) => console.log(error.message));`;
    const setup = 'ip link set lo up && ip route add unreachable 10.0.0.0/8 && exec "$@"';
    const child = Bun.spawn(["unshare", "-n", "sh", "-c", setup, "sh", process.execPath, "-e", script], {
      stdout: "pipe",
    });
    const [refused, off, noWay, noWay6] = (await new Response(child.stdout).text()).split("\n");
    expect(refused).toContain("127.0.0.1 refuses connections on port 1");
    expect(off).toContain("there is no host at 10.1.2.3");
    expect(noWay).toContain("no way leads from here to 11.1.2.3");
    expect(noWay6).toContain("no way leads from here to fd00::1");
  });

  test("what speaks something else is no SSH server", async () => {
    await using sshd = await startSshd();
    await using web = await listener((socket) => void socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    const message = await failure(
      "UNREACHABLE",
      connectTo(sshd, { lines: [`Port ${web.port}`], dialing: new Dialing({ random: () => 0 }) }),
    );
    expect(message).toContain("it is no SSH server");
    await using noise = await listener((socket) => void socket.write(crypto.getRandomValues(new Uint8Array(100_000))));
    await failure("UNREACHABLE", connectTo(sshd, { lines: [`Port ${noise.port}`], connectTimeoutMs: 2_000 }));
  });

  test("8 logins at once where sshd takes one at a time (MaxStartups) all succeed", async () => {
    await using sshd = await startSshd({ config: ["MaxStartups 1:100:1"] });
    const dialing = new Dialing();
    const logins = Array.from({ length: 8 }, () => connectTo(sshd, { dialing }));
    const all = await Promise.all(logins);
    expect(await Promise.all(all.map((connection) => output(connection, "echo in")))).toEqual(Array(8).fill("in\n"));
    for (const connection of all) await connection[Symbol.asyncDispose]();
    expect(dialing.drops).toBeGreaterThan(0);
  });

  test("a host that always hangs up: after 5 tries says so", async () => {
    await using sshd = await startSshd();
    let calls = 0;
    await using hangsUp = await listener((socket) => {
      calls++;
      socket.destroy();
    });
    const dialing = new Dialing({ random: () => 0, clock: hasty() });
    const message = await failure("UNREACHABLE", connectTo(sshd, { lines: [`Port ${hangsUp.port}`], dialing }));
    expect(message).toContain("hung up 5 times before the login");
    expect(calls).toBe(5);
  });

  test.each(["-oProxyCommand=touch stolen", "x@-oProxyCommand=touch stolen", "a;touch stolen"])(
    "%s is refused before anything runs",
    async (name) => {
      expect(await failure("USAGE", connectSsh(name))).toContain("is no destination");
    },
  );

  test("an ssh_config that ssh cannot read: its own words", async () => {
    await using sshd = await startSshd();
    expect(await failure("CONFIG", connectTo(sshd, { lines: ["Nonsense yes"] }))).toMatch(/nonsense/i);
  });

  test("given up: while it connects, waits for its turn, or is asked about", async () => {
    await using sshd = await startSshd();
    await using mute = await listener(() => {});
    const stop = new AbortController();
    const { signal } = stop;
    const dialing = new Dialing({ parallel: 1 });
    const lines = [`Port ${mute.port}`];
    const logins = [connectTo(sshd, { lines, signal, dialing }), connectTo(sshd, { lines, signal, dialing })];
    const failures = logins.map((login) => failure("CANCELLED", login));
    stop.abort();
    await Promise.all(failures);
    await failure("CANCELLED", connectTo(sshd, { signal }));
    await using connection = await connectTo(sshd, { dialing });
    expect(await output(connection, "echo in")).toBe("in\n");
  });
});

/** A clock whose timers are due at once. */
function hasty() {
  return {
    now: () => 0,
    after(_delayMs: number, callback: () => void) {
      const timer = setImmediate(callback);
      return { cancel: () => clearImmediate(timer) };
    },
  };
}
