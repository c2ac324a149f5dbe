// Apart from the schema, which takes long to load.

/** Names of the transports that ship; their factories are listed in transports/builtin.ts. */
export const BUILTIN_TRANSPORTS = ["tcp", "udp"] as const;
