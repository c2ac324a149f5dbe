// Hosts whose settings need the system's ssh: the same interface, over one process of ssh for each host.
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { connectSsh } from "../../../plugins/ssh/connect.ts";
import { explainFailure, isDrop } from "../../../plugins/ssh/ssh-failures.ts";
import { makeKey, noSshd, publicLine, type Sshd, startSshd } from "../../support/sshd.ts";
import { until } from "../../support/until.ts";
import { connectTo, failure, output, runs, skipNote } from "./support.ts";

// A TCP connection as a ProxyCommand, with what is on every machine that runs these tests.
const PIPE = "const s = require('net').connect(%p, '%h', () => { process.stdin.pipe(s); s.pipe(process.stdout); });";
const PROXY = `ProxyCommand ${process.execPath} -e "${PIPE} s.on('error', () => process.exit(1));"`;

/** The processes of ssh that belong to a login through these settings: the master, its guard, commands. */
function sshProcesses(sshd: Sshd): string[] {
  const mark = Buffer.from(sshd.folder);
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((name) => {
      try {
        return readFileSync(`/proc/${name}/cmdline`);
      } catch {
        return Buffer.alloc(0);
      }
    })
    .filter((line) => line.includes(mark) && line.includes("ControlPath"))
    .map(String);
}

describe.skipIf(noSshd)(`the system's ssh${skipNote}`, () => {
  test("ProxyCommand: commands, their input, output and status; nothing is left afterwards", async () => {
    await using sshd = await startSshd();
    const connection = await connectTo(sshd, { lines: [PROXY] });
    expect(connection.means).toBe("ssh");
    const result = await connection.run("cat; echo problem >&2; exit 3", { input: Buffer.from("hello") });
    expect({ ...result, stdout: String(Buffer.from(result.stdout)) }).toEqual({
      status: 3,
      stdout: "hello",
      stderr: "problem\n",
    });
    expect((await connection.run("exit 255")).status).toBe(255);
    expect(sshProcesses(sshd).length).toBeGreaterThan(0);
    await connection[Symbol.asyncDispose]();
    expect(await connection.closed).toBeUndefined();
    await until(() => sshProcesses(sshd).length === 0, { what: "the end of ssh" });
    await failure("LINK_CLOSED", connection.run("true"));
  });

  test("4 MB there and back, eight commands at once over one login", async () => {
    await using sshd = await startSshd();
    await using connection = await connectTo(sshd, { lines: [PROXY] });
    const input = Buffer.alloc(1 << 22, "abcdefg");
    const options = { input, outputLimitBytes: 1 << 23 };
    const results = await Promise.all(Array.from({ length: 8 }, () => connection.run("cat", options)));
    expect(results.map(({ status, stdout, stderr }) => ({ status, size: stdout.length, stderr }))).toEqual(
      Array(8).fill({ status: 0, size: input.length, stderr: "" }),
    );
    expect(results.every(({ stdout }) => Buffer.compare(stdout, input) === 0)).toBe(true);
    expect(sshd.log().split("Accepted publickey").length - 1).toBe(1);
  });

  test("F93 forwardIn, forwardInUnix, forwardOut", async () => {
    await using sshd = await startSshd();
    await using connection = await connectTo(sshd, { lines: [PROXY] });
    const greet = (stream: NodeJS.WritableStream) => void stream.end("hello from here");
    await using port = await connection.forwardIn(0, greet);
    const path = join(sshd.home, "socket");
    await using _socket = await connection.forwardInUnix(path, greet);
    const ask = (how: string) => `python3 -c 'import socket; s=${how}; print(s.recv(99).decode())'`;
    const tcp = `socket.create_connection(("127.0.0.1",${port.port}))`;
    expect(await output(connection, ask(tcp))).toBe("hello from here\n");
    expect(await output(connection, ask(`socket.socket(socket.AF_UNIX); s.connect("${path}")`))).toBe(
      "hello from here\n",
    );
    const out = await connection.forwardOut({ host: "127.0.0.1", port: sshd.port });
    const greeting = await new Promise<Buffer>((resolve) => out.once("data", resolve));
    expect(String(greeting)).toContain("SSH-2.0-");
    out.destroy();
    await port[Symbol.asyncDispose]();
    expect((await connection.run(ask(tcp))).status).toBe(1);
  });

  test("given up in the middle of the login, and a host that breaks off: nothing is left, and the reason is told", async () => {
    await using sshd = await startSshd();
    const stop = new AbortController();
    const login = connectTo(sshd, { lines: ["ProxyCommand sleep 1000"], signal: stop.signal });
    await until(() => sshProcesses(sshd).length > 0, { what: "ssh to run" });
    stop.abort();
    await failure("CANCELLED", login);
    await until(() => sshProcesses(sshd).length === 0, { what: "the end of ssh" });

    const connection = await connectTo(sshd, { lines: [PROXY] });
    const talk = await connection.open("exec sleep 1000");
    await runs(sshd, "sleep");
    await sshd[Symbol.asyncDispose]();
    expect((await connection.closed)?.code).toBe("LINK_CLOSED");
    expect((await talk.ended).status).not.toBe(0);
    await until(() => sshProcesses(sshd).length === 0, { what: "the end of ssh" });
  });

  test("ssh ends when mesh is killed", async () => {
    await using sshd = await startSshd();
    writeFileSync(sshd.configFile, sshd.configBlock([PROXY]));
    const script = join(sshd.folder, "holder.ts");
    const connect = new URL("../../../plugins/ssh/connect.ts", import.meta.url).pathname;
    writeFileSync(
      script,
      `import { connectSsh } from "${connect}";\nawait connectSsh("host", { configFile: "${sshd.configFile}" });\nconsole.log("in");\n`,
    );
    const holder = Bun.spawn([process.execPath, script], { stdout: "pipe" });
    await holder.stdout.getReader().read();
    expect(sshProcesses(sshd).length).toBeGreaterThan(0);
    holder.kill("SIGKILL");
    await until(() => sshProcesses(sshd).length === 0, { what: "the end of ssh" });
  });

  test("a certificate beside the key, which only ssh can show, lets in after the plain key was refused", async () => {
    await using sshd = await startSshd();
    const ca = makeKey(join(sshd.folder, "ca"));
    const key = makeKey(join(sshd.folder, "mine"));
    spawnSync("ssh-keygen", ["-q", "-s", ca, "-I", "me", "-n", sshd.user, `${key}.pub`]);
    writeFileSync(sshd.authorizedKeys, `cert-authority ${publicLine(ca)}\n`);
    await using connection = await connectTo(sshd, { lines: [`IdentityFile ${key}`] });
    expect([connection.means, await output(connection, "echo in")]).toEqual(["ssh", "in\n"]);
    rmSync(`${key}-cert.pub`);
    await failure("AUTHENTICATION", connectTo(sshd, { lines: [`IdentityFile ${key}`] }));
  });

  test("a host key that an authority signed", async () => {
    const ca = makeKey(join("/tmp", `mesh-ca-${process.pid}`));
    try {
      await using sshd = await startSshd();
      const hostKey = join(sshd.folder, "host_ed25519");
      spawnSync("ssh-keygen", ["-q", "-s", ca, "-I", "host", "-h", `${hostKey}.pub`]);
      await using certified = await startSshd({
        config: [`HostKey ${hostKey}`, `HostCertificate ${hostKey}-cert.pub`],
      });
      writeFileSync(certified.authorizedKeys, publicLine(sshd.clientKey));
      writeFileSync(sshd.knownHosts, `@cert-authority * ${publicLine(ca)}\n`);
      await using connection = await connectTo(sshd, { lines: [`Port ${certified.port}`] });
      expect([connection.means, await output(connection, "echo $HOME")]).toEqual(["ssh", `${certified.home}\n`]);
    } finally {
      for (const file of [ca, `${ca}.pub`]) rmSync(file);
    }
  });

  test("unknown and changed host keys; nobody let in; a ProxyCommand that fails", async () => {
    await using sshd = await startSshd();
    const lines = [PROXY, "StrictHostKeyChecking ask"];
    const known = readFileSync(sshd.knownHosts, "utf8");
    writeFileSync(sshd.authorizedKeys, "");
    const refused = await failure("AUTHENTICATION", connectTo(sshd, { lines }));
    expect(refused).toContain("Permission denied (publickey)");
    expect(refused).toContain("ssh (needed for ProxyCommand)");
    rmSync(sshd.knownHosts);
    expect(await failure("AUTHENTICATION", connectTo(sshd, { lines }))).toContain("host is not known");
    writeFileSync(
      sshd.knownHosts,
      known.replace(/AAAA.*/, publicLine(makeKey(join(sshd.folder, "other"))).split(" ")[1]!),
    );
    const changed = await failure("AUTHENTICATION", connectTo(sshd, { lines, acceptNewKeys: true }));
    expect(changed).toContain(`${sshd.knownHosts}:1 knows another one`);
    const broken = await failure(
      "UNREACHABLE",
      // Not by ssh's own "exec echo": that gives up its stdout, by which ssh is told that it is over, before it says a word.
      connectTo(sshd, { lines: ["ProxyCommand sh -c 'echo no such way >&2; exit 1'"] }),
    );
    expect(broken).toContain("no such way");
  });

  test("an alias that ssh would take for an option never reaches it", async () => {
    await failure("USAGE", connectSsh("-oProxyCommand=touch stolen"));
  });
});

describe("what ssh says", () => {
  test("isDrop: sshd hung up before it said who it is", () => {
    expect(
      isDrop(
        "kex_exchange_identification: Connection closed by remote host\r\nConnection closed by 10.0.0.5 port 22\r\n",
      ),
    ).toBe(true);
    expect(isDrop("nc: connect failed\nkex_exchange_identification: Connection closed by remote host\n")).toBe(false);
    expect(isDrop("")).toBe(false);
  });

  const rows: [stderr: string, code: string, words: string][] = [
    ["alice@h: Permission denied (publickey).", "AUTHENTICATION", "let nobody in"],
    ["Received disconnect from 10.0.0.5: Too many authentication failures", "AUTHENTICATION", "let nobody in"],
    ["ssh: Could not resolve hostname h: Name or service not known", "UNREACHABLE", "Could not resolve hostname"],
    [
      "No ED25519 host key is known for h and you have requested strict checking.\nHost key verification failed.",
      "AUTHENTICATION",
      "no ED25519 host key",
    ],
    ["", "UNREACHABLE", "it said nothing"],
  ];
  test.each(rows)("%s: %s", (stderr, code, words) => {
    const error = explainFailure({ label: "h", command: "ssh h", needs: ["ProxyCommand"], stderr });
    expect(error.code).toBe(code);
    expect(error.message).toContain(words);
  });
});
