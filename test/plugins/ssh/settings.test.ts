// Destinations, and the user's settings as `ssh -G` prints them.
import { describe, expect, test } from "vitest";
import { nameOf, parseDestination, parseHop } from "../../../plugins/ssh/destination.ts";
import { commandLine, destinationArgs } from "../../../plugins/ssh/read-settings.ts";
import { defaultSettings, type Place, parseSettings } from "../../../plugins/ssh/settings.ts";

describe("parseDestination", () => {
  const good: [text: string, host: string, user?: string | undefined, port?: number][] = [
    ["host", "host"],
    ["alice@host", "host", "alice"],
    ["alice@corp@host", "host", "alice@corp"],
    ["10.0.0.5", "10.0.0.5"],
    ["fe80::1%eth0", "fe80::1%eth0"],
    ["[fe80::1]", "fe80::1"],
    ["[fe80::1]:2222", "fe80::1", undefined, 2222],
    ["ssh://host", "host"],
    ["ssh://host/", "host"],
    ["ssh://alice@host:2222", "host", "alice", 2222],
    ["ssh://[fe80::1]:2222", "fe80::1", undefined, 2222],
  ];
  test.each(good)("takes %s", (text, host, user, port) => {
    expect(parseDestination(text)).toEqual({ host, ...(user && { user }), ...(port && { port }) });
  });

  const bad = [
    "",
    "-oProxyCommand=touch /tmp/x",
    "-l",
    "alice@-oProxyCommand=x",
    "-x@host",
    "@host",
    "alice@",
    "ssh://-oProxyCommand=x",
    "ssh://",
    "host:22",
    "ssh://host:0",
    "ssh://host:65536",
    "a b",
    "host\nProxyCommand x",
    "host;touch x",
    "$(touch x)",
    "`x`",
    "a/b",
    "ssh://host/path",
    "ho\u0000st",
  ];
  test.each(bad)("refuses %j", (text) => {
    expect(() => parseDestination(text)).toThrow(expect.objectContaining({ code: "USAGE" }));
  });

  test("says what to write for host:port", () => {
    expect(() => parseDestination("host:2222")).toThrow("ssh://host:2222");
  });

  test("parseHop takes a port after a colon, as ProxyJump has it", () => {
    expect(parseHop("alice@bastion:2222")).toEqual({ host: "bastion", user: "alice", port: 2222 });
    expect(parseHop("bastion")).toEqual({ host: "bastion" });
  });

  test("goes behind the end of options on a command line", () => {
    const destination = { host: "host", user: "alice", port: 2222 };
    expect(destinationArgs(destination)).toEqual(["-l", "alice", "-p", "2222", "--", "host"]);
    expect(nameOf(destination)).toBe("alice@host");
    expect(commandLine(destination, "file")).toBe("ssh -F file -p 2222 alice@host");
  });
});

const PLACE: Place = {
  host: "alias",
  home: "/home/me",
  localUser: "me",
  uid: 1000,
  localHost: "desk.example.com",
  env: { SSH_AUTH_SOCK: "/run/agent", OTHER: "/run/other", EMPTY: "" },
};
const settingsOf = (...lines: string[]) =>
  parseSettings(["hostname 10.0.0.5", "user alice", ...lines].join("\n"), PLACE);

describe("parseSettings", () => {
  const rows: [line: string, expected: object][] = [
    ["port 2222", { port: 2222 }],
    ["addressfamily inet6", { addressFamily: 6 }],
    ["bindaddress 10.0.0.1", { bindAddress: "10.0.0.1" }],
    ["hostkeyalias other", { hostKeyAlias: "other" }],
    ["userknownhostsfile ~/.ssh/a /srv/with space/b", { userKnownHosts: ["/home/me/.ssh/a", "/srv/with space/b"] }],
    ["userknownhostsfile none", { userKnownHosts: [] }],
    ["globalknownhostsfile /etc/a /etc/b", { globalKnownHosts: ["/etc/a", "/etc/b"] }],
    ["hashknownhosts yes", { hashKnownHosts: true }],
    ["stricthostkeychecking ask", { keyPolicy: "ask" }],
    ["stricthostkeychecking true", { keyPolicy: "refuse" }],
    ["stricthostkeychecking yes", { keyPolicy: "refuse" }],
    ["stricthostkeychecking accept-new", { keyPolicy: "accept-new" }],
    ["stricthostkeychecking false", { keyPolicy: "accept-new" }],
    ["identityfile ~/k_%n_%h_%r_%p", { identityFiles: ["/home/me/k_alias_10.0.0.5_alice_22"] }],
    [
      "identityfile %d/k_%u_%i_%L_%l_%k_%%_%Z",
      { identityFiles: ["/home/me/k_me_1000_desk_desk.example.com_alias_%_%Z"] },
    ],
    [`identityfile ${"$"}{OTHER}/k`, { identityFiles: ["/run/other/k"] }],
    ["identityfile none", { identityFiles: [] }],
    ["identitiesonly yes", { identitiesOnly: true }],
    ["identityagent ~/sock", { identityAgent: "/home/me/sock" }],
    ["identityagent SSH_AUTH_SOCK", { identityAgent: "/run/agent" }],
    ["identityagent $OTHER", { identityAgent: "/run/other" }],
    ["pubkeyauthentication false", { allows: { publicKey: false, password: true, keyboard: true } }],
    ["pubkeyauthentication unbound", { allows: { publicKey: true, password: true, keyboard: true } }],
    ["passwordauthentication no", { allows: { publicKey: true, password: false, keyboard: true } }],
    ["kbdinteractiveauthentication no", { allows: { publicKey: true, password: true, keyboard: false } }],
    ["proxyjump a,b@c:22,%r@d", { proxyJump: ["a", "b@c:22", "alice@d"] }],
    ["proxyjump none", { proxyJump: [] }],
    ["connecttimeout 7", { connectTimeoutMs: 7_000 }],
    ["serveraliveinterval 30", { keepAlive: { intervalMs: 30_000, count: 3 } }],
    ["proxycommand nc %h %p", { needsSystem: ["ProxyCommand"] }],
    ["proxycommand none", { needsSystem: [] }],
    ["pkcs11provider /lib/x.so", { needsSystem: ["PKCS11Provider"] }],
    ["certificatefile ~/c", { needsSystem: ["CertificateFile"], certificateFiles: ["/home/me/c"] }],
    ["knownhostscommand /bin/x", { needsSystem: ["KnownHostsCommand"] }],
    ["gssapiauthentication yes", { mayNeedSystem: [{ name: "GSSAPI", method: "gssapi-with-mic" }], needsSystem: [] }],
  ];
  test.each(rows)("%s", (line, expected) => {
    expect(settingsOf(line)).toMatchObject(expected);
  });

  test("no agent: none, and a variable that is empty or unset", () => {
    expect(settingsOf().identityAgent).toBe("/run/agent");
    for (const value of ["none", "$EMPTY", "$UNSET"])
      expect(settingsOf(`identityagent ${value}`).identityAgent).toBeUndefined();
  });

  test("keeps the order of identity files, and takes what it does not know", () => {
    const settings = settingsOf("identityfile /a", "unheardof value", "identityfile /b", "connecttimeout none");
    expect(settings.identityFiles).toEqual(["/a", "/b"]);
    expect(settings.connectTimeoutMs).toBeUndefined();
  });

  test("throws CONFIG for what is no output of ssh -G", () => {
    expect(() => parseSettings("usage: ssh", PLACE)).toThrow(expect.objectContaining({ code: "CONFIG" }));
  });
});

test("defaultSettings: what ssh does without a file", () => {
  expect(defaultSettings({ host: "h", port: 5 }, PLACE)).toMatchObject({
    hostName: "h",
    port: 5,
    user: "me",
    keyPolicy: "ask",
    identityFiles: ["/home/me/.ssh/id_rsa", "/home/me/.ssh/id_ecdsa", "/home/me/.ssh/id_ed25519"],
    userKnownHosts: ["/home/me/.ssh/known_hosts", "/home/me/.ssh/known_hosts2"],
  });
});
