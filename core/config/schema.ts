// The shape of mesh.toml. Loaded only when there is one to check, because zod takes longer to load than mesh to start.
// Messages that begin with "expected" get what was found appended; see problems.ts.
import * as z from "zod";
import { isMeshError } from "../errors.ts";
import { portOf } from "../ip-address.ts";
import { PORT_RANGE_WORDS, parsePortRange } from "./port-range.ts";
import { parseRelayRate, RELAY_PAIRS_LIMIT, RELAY_RATE_WORDS } from "./relay-rate.ts";
import { DURATION_WORDS, parseDuration, parseSize, SIZE_WORDS } from "./units.ts";

/** Names of the providers that ship; their factories are listed in plugins/builtin.ts. */
export const BUILTIN_PROVIDERS = ["ssh", "local"] as const;

const text = (expected: string, pattern = /^\P{Cc}{1,255}$/u) => z.string(expected).regex(pattern, expected);
const list = <T extends z.ZodType>(item: T, expected: string) => z.array(item, expected).max(1000, expected);
const table = <T extends z.core.$ZodLooseShape>(shape: T) => z.strictObject(shape, "expected a table");

function wholeNumber(min: number, max: number) {
  const expected = `expected a whole number of ${min} to ${max}`;
  return z.int(expected).min(min, expected).max(max, expected);
}

/** A string that `parse` makes something of; `expected` is said where it throws USAGE, or gives nothing. */
function read<Value>(expected: string, parse: (text: string) => Value | undefined) {
  return z.string(expected).transform((text, context): Value => {
    try {
      const value = parse(text);
      if (value !== undefined) return value;
    } catch (error) {
      if (!isMeshError(error, "USAGE")) throw error;
    }
    context.addIssue({ code: "custom", message: expected });
    return z.NEVER;
  });
}

const SLOT_MEMORY_LEAST = 32 * 2 ** 20;
const duration = () => read(`expected ${DURATION_WORDS}`, parseDuration);
const size = () =>
  read(`expected ${SIZE_WORDS}, at least 32M`, (text) => {
    const bytes = parseSize(text);
    return bytes < SLOT_MEMORY_LEAST ? undefined : bytes;
  });
const name = (what: string) =>
  text(`expected ${what}: letters, digits, ".", "_" and "-", at most 63`, /^[A-Za-z0-9_][A-Za-z0-9._-]{0,62}$/);
function address() {
  const expected = 'expected an address such as "tcp://[::]:7450"';
  return text(expected, /^[a-z][a-z0-9]{0,15}:\/\/(\[[0-9a-fA-F:.%]{2,64}\]|[^\s:/[\]@?#]{1,253}):\d{1,5}$/).refine(
    (value) => portOf(value) <= 65_535,
    expected,
  );
}

const mesh = table({
  name: name("a name").describe("Names this mesh; part of every node's identity.").default("mesh"),
  transports: list(name("the name of a transport"), 'expected a list of transports such as ["tcp", "udp"]')
    .min(1, "expected at least one transport")
    .describe("What may carry traffic between hosts; the best path that answers wins. Ways through routers need udp.")
    .default(["tcp", "udp"]),
  slots: wholeNumber(1, 4096).describe("Slots of a host that does not say; default: its cores.").optional(),
  slotMemory: size().describe("Memory limit of a slot, on hosts that do not say; default: none.").optional(),
  heartbeat: duration().describe("How often peers say that they live.").default(1000),
  suspectAfter: duration().describe("Silence after which a peer is suspected.").default(3000),
  downAfter: duration().describe("Silence after which a peer is declared down.").default(10_000),
  lease: duration()
    .describe("How long a job outlives the loss of its head as far as the coordinator is concerned.")
    .default(10_000),
});

const coordinator = table({
  host: text('expected "local" or the name of a host')
    .describe("Where it runs: this machine or a host.")
    .default("local"),
  listen: list(address(), "expected a list of addresses")
    .min(1, "expected at least one address")
    .describe("Where it listens for nodes; default: on port 7450 of every transport.")
    .optional(),
});

const ssh = (example: string) =>
  text(`expected a name for ssh, such as "${example}" or an alias of ssh_config`, /^[^\s\p{Cc}-][^\s\p{Cc}]{0,254}$/u);

const rendezvous = table({
  host: text('expected "local" or the name of a host')
    .describe("The host where `mesh up` starts one; without host and ssh the coordinator alone is one.")
    .optional(),
  ssh: ssh("alice@vps.example.net")
    .describe("The same, for a machine that is no host: user@host or an alias of ssh_config.")
    .optional(),
  listen: list(address(), "expected a list of addresses")
    .min(1, "expected at least one address")
    .describe("Where nodes dial it; default: on port 7451 of every transport.")
    .optional(),
  advertise: list(address(), "expected a list of addresses")
    .min(1, "expected at least one address")
    .describe("What they are told instead, where a router forwards a port to there.")
    .optional(),
  ports: read(`expected ${PORT_RANGE_WORDS}`, parsePortRange)
    .describe(
      "UDP and TCP ports for echoes and relays, for a router to forward; default: any. Also of the coordinator.",
    )
    .optional(),
  relayRate: read(`expected ${RELAY_RATE_WORDS}`, parseRelayRate)
    .describe(
      "What one pair may send through a relay in a second, in bytes; default: no limit. Also of the coordinator.",
    )
    .optional(),
  relayPairs: wholeNumber(1, RELAY_PAIRS_LIMIT)
    .describe("How many pairs are relayed at once; default: 2000. Also of the coordinator.")
    .optional(),
});

const host = table({
  provider: name("the name of a provider").describe("What starts workers here: ssh (default) or local.").default("ssh"),
  ssh: ssh("alice@10.0.0.5")
    .describe("user@host or an alias of ssh_config; default: the host's own name. May hold the same ranges.")
    .optional(),
  slots: wholeNumber(1, 4096).describe("How many tasks run here side by side; default: its cores.").optional(),
  slotMemory: size().describe("Memory limit of each slot here.").optional(),
  listen: list(address(), "expected a list of addresses")
    .min(1, "expected at least one address")
    .describe("Where other nodes dial its worker; default: any free port of every transport.")
    .optional(),
  advertise: list(address(), "expected a list of addresses")
    .min(1, "expected at least one address")
    .describe("What they are told instead, where a router forwards a port to there.")
    .optional(),
  tags: list(name("a tag"), 'expected a list of tags such as ["gpu"]')
    .describe("Words by which jobs choose hosts.")
    .default([]),
});

const file = () => text('expected the path of a file such as "./my-provider.ts"', /^[^\0]{1,4096}$/);
const plugins = table({
  providers: list(file(), "expected a list of files").describe("Files that export a Provider factory.").default([]),
});

// No transport takes settings yet.
const settings = z.record(z.string(), z.unknown(), "expected a table");

/** The whole of mesh.toml. */
export const fileSchema = table({
  mesh: mesh.prefault({}),
  coordinator: coordinator.prefault({}),
  rendezvous: rendezvous.prefault({}),
  hosts: z.record(z.string(), host, "expected a table of hosts: [hosts.NAME]").prefault({}),
  transport: z.record(z.string(), settings, "expected a table: [transport.NAME]").prefault({}),
  plugins: plugins.prefault({}),
});

/** mesh.toml after checking, as it is written: ranges not expanded, amounts in bytes and milliseconds. */
export type ConfigFile = z.output<typeof fileSchema>;

/** The JSON Schema of mesh.toml, for editors. */
export function jsonSchema(): object {
  return { title: "mesh.toml", ...z.toJSONSchema(fileSchema, { io: "input", target: "draft-7" }) };
}

/** Checks the shape of `data`; what is wrong comes as zod's issues. */
export function checkShape(data: unknown) {
  return fileSchema.safeParse(data);
}

/** The keys that may stand at `path`, or none where any may. */
export function knownKeys(path: readonly PropertyKey[]): string[] {
  let at: unknown = fileSchema;
  for (const key of path) at = inside(unwrap(at), key);
  const here = unwrap(at);
  return here instanceof z.ZodObject ? Object.keys(here.shape) : [];
}

function inside(schema: unknown, key: PropertyKey): unknown {
  if (schema instanceof z.ZodObject) return schema.shape[String(key)];
  if (schema instanceof z.ZodRecord) return schema.valueType;
  return schema instanceof z.ZodArray ? schema.element : undefined;
}

function unwrap(schema: unknown): unknown {
  const wrapped = schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault;
  return wrapped ? unwrap(schema.unwrap()) : schema;
}
