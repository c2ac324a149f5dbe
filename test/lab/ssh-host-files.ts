// What a host of the lab is made of: the files laid out for it, and the script that makes them its view of the machine.
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { binary } from "../support/mesh.ts";
import { run } from "./namespaces.ts";

export interface SshHostOptions {
  /** The networks it stands in. Default: the outside. */
  segments?: string[];
  /** The host through which alone the desk's ~/.ssh/config leads to it. */
  jump?: string;
  /** The port of its network's router that leads to its sshd. */
  port?: number;
  /** Who logs in. Default root; any other is made for it, without rights. */
  user?: string;
  /** Default /bin/bash. */
  shell?: string;
  /** Folders that hold so many KiB and no more; in memory. */
  sizesKib?: Record<string, number>;
  /** Folders from which nothing can be run. */
  noexec?: string[];
  /** Programs that it lacks. */
  without?: string[];
  /** Text by path: programs that are other ones there, such as {"/usr/bin/uname": "#!/bin/sh\necho ..."}. */
  programs?: Record<string, string>;
  /** Files of its user, by path below the home folder. */
  files?: Record<string, string>;
  /** The binary is in its cache already, so that a test need not wait for its way there. */
  hasBinary?: boolean;
  /** Programs of arm64 run there, by qemu, and uname says that it is one; see missingForArm64. */
  isArm64?: boolean;
  /** Further lines of sshd_config, which precede the lab's. */
  sshd?: string[];
}

/** Everything a user may write to. */
export const WRITABLE = ["/root", "/home", "/tmp", "/var/tmp", "/run", "/dev/shm"];

/** Who a host is, and where on this machine its files are. */
export interface HostPlan {
  name: string;
  user: string;
  /** The home folder of its user, on the host. */
  home: string;
  options: SshHostOptions;
  folder: string;
}

/** Lays out all files of a host, whose users log in with this key. */
export function layOut(host: HostPlan, authorizedKey: string): void {
  for (const path of WRITABLE) mkdirSync(ownPath(host, path), { recursive: true });
  const etc = join(host.folder, "etc");
  mkdirSync(etc);
  makeHostKey(host);
  writeFileSync(join(etc, "authorized_keys"), `${authorizedKey}\n`);
  writeFileSync(join(etc, "sshd_config"), sshdConfig(host));
  const { user, home } = host;
  const shell = host.options.shell ?? "/bin/bash";
  const line = user === "root" ? "" : `${user}:x:4711:4711::${home}:${shell}\n`;
  const root = `root:x:0:0:root:/root:${user === "root" ? shell : "/bin/sh"}\n`;
  const system =
    "sshd:x:105:65534::/run/sshd:/usr/sbin/nologin\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n";
  writeFileSync(join(etc, "passwd"), root + system + line);
  writeFileSync(join(etc, "shadow"), ["root", "sshd", user].map((name) => `${name}:*:19000:0:99999:7:::\n`).join(""));
  writeFileSync(join(etc, "group"), `root:x:0:\nnogroup:x:65534:\n${user === "root" ? "" : `${user}:x:4711:\n`}`);
  if (host.options.hasBinary) placeBinary(host);
  for (const [name, text] of Object.entries(host.options.files ?? {})) {
    const path = join(ownPath(host, home), name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  Object.values(programsOf(host)).forEach((text, index) => {
    writeFileSync(join(etc, `program-${index}`), text);
    chmodSync(join(etc, `program-${index}`), 0o755);
  });
}

function placeBinary(host: HostPlan): void {
  const path = join(ownPath(host, host.home), ".cache/mesh/bin", binaryHash(), "mesh");
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  copyFileSync(binary, path);
  chmodSync(path, 0o700);
}

function programsOf({ options }: HostPlan): Record<string, string> {
  const uname = 'case "$*" in -m|-p) echo aarch64;; "-s -m"|"-sm") echo Linux aarch64;; *) echo Linux;; esac';
  return { ...(options.isArm64 && { "/usr/bin/uname": `#!/bin/sh\n${uname}\n` }), ...options.programs };
}

/** A new host key, of which nobody knows. */
export function makeHostKey(host: HostPlan): void {
  const path = join(host.folder, "etc/ssh_host_ed25519_key");
  run("sh", "-c", 'rm -f "$0" && ssh-keygen -q -t ed25519 -N "" -C "" -f "$0"', path);
}

function sshdConfig(host: HostPlan): string {
  const arm64 = host.options.isArm64 ? `SetEnv QEMU_LD_PREFIX=${ARM64_LIBRARIES}\n` : "";
  return `${(host.options.sshd ?? []).map((line) => `${line}\n`).join("")}${arm64}Port 22
PidFile /etc/ssh/sshd.pid
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile /etc/ssh/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PermitRootLogin prohibit-password
PrintMotd no
LogLevel VERBOSE
Subsystem sftp internal-sftp
`;
}

/** What process 1 of the host does: makes its view of the files, starts sshd, and reaps what is left to it. */
export function setupScript(host: HostPlan): string {
  const { sizesKib = {}, noexec = [], without = [], user } = host.options;
  const etc = join(host.folder, "etc");
  const mounts = WRITABLE.filter((path) => path !== "/tmp").concat("/tmp"); // last: this machine's holds the sources
  const lines = [
    `${NO_TABLE}; set -e; mount --make-rprivate /`,
    "read -r pid rest < /proc/self/stat; echo $pid",
    `echo '${host.name}' > /proc/sys/kernel/hostname`,
    ...["passwd", "shadow", "group"].map((name) => `mount --bind '${etc}/${name}' /etc/${name}`),
    ...Object.keys(programsOf(host)).map((path, index) => `mount --bind '${etc}/program-${index}' '${path}'`),
    `mount --bind '${etc}' /etc/ssh`,
    ...mounts.map((path) => mountOf(host, path, sizesKib[path])),
    "chmod 1777 /tmp /var/tmp /dev/shm; chmod 755 /run /home; mkdir -p /run/sshd",
    user === undefined ? "" : `mkdir -p ${host.home}; chown -R ${user}:${user} ${host.home}`,
    without.length > 0 ? hide(without) : "",
    ...noexec.map((path) => `mount -o remount,bind,noexec ${path}`),
    "mount -t proc proc /proc",
    host.options.isArm64 ? registerQemu() : "",
    `cd /; ${SSHD}; exec > /dev/null 2>&1`,
    "while :; do sleep 86399 & wait $!; done",
  ];
  return lines.filter((line) => line !== "").join("\n");
}

function mountOf(host: HostPlan, path: string, sizeKib: number | undefined): string {
  const own = `'${ownPath(host, path)}'`;
  if (sizeKib === undefined) return `mount --bind ${own} ${path}`;
  const below = `'${ownPath(host, "")}/memory${path}'`; // copied before it takes its place: /tmp hides the source
  return [
    `mkdir -p ${below}; mount -t tmpfs -o size=${sizeKib}k,mode=755 tmpfs ${below}`,
    `cp -a ${own}/. ${below}/; mount --move ${below} ${path}`,
  ].join("\n");
}

function ownPath(host: HostPlan, path: string): string {
  return join(host.folder, `files${path}`);
}

/** mount(8) keeps notes of its own in /run, which is about to be another one. */
const NO_TABLE = 'mount() { command mount -n "$@"; }';

let hashOfBinary: string | undefined;

/** SHA-256 of dist/mesh, in hex. */
export function binaryHash(): string {
  hashOfBinary ??= new Bun.CryptoHasher("sha256").update(readFileSync(binary)).digest("hex");
  return hashOfBinary;
}

/** Starts the host's sshd. */
export const SSHD = "/usr/sbin/sshd -f /etc/ssh/sshd_config -E /etc/ssh/log";

/** /usr/bin becomes a folder of links to all programs but these. */
function hide(programs: readonly string[]): string {
  return [
    "mkdir -p /run/programs && mount --bind /usr/bin /run/programs && mount -t tmpfs -o mode=755 tmpfs /usr/bin",
    "/run/programs/ln -s /run/programs/* /usr/bin/",
    `/run/programs/rm ${programs.map((program) => `/usr/bin/${program}`).join(" ")}`,
  ].join("\n");
}

const QEMU = "/usr/bin/qemu-aarch64-static";
const ARM64_LIBRARIES = "/usr/aarch64-linux-gnu";

/** What a host of arm64 needs and this machine lacks. */
export function missingForArm64(): string | undefined {
  if (!existsSync(QEMU)) return "qemu-aarch64-static is not installed (Debian: qemu-user-static)";
  if (existsSync(`${ARM64_LIBRARIES}/lib/ld-linux-aarch64.so.1`)) return undefined;
  return "the C library of arm64 is not installed (Debian: libc6-arm64-cross)";
}

/**
 * Registers qemu for programs of arm64 in the host's user namespace, of which alone this is true: the kernel's table is one
 * for each. The pattern is that of an ELF file for machine 183.
 */
function registerQemu(): string {
  const magic = "\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00";
  const mask = "\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff";
  const table = "/proc/sys/fs/binfmt_misc";
  return `mount -t binfmt_misc binfmt_misc ${table}; printf %s ':arm64:M::${magic}:${mask}:${QEMU}:OCF' > ${table}/register`;
}
