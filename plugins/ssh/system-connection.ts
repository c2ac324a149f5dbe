import { MeshError } from "../../core/errors.ts";
import type { RefusedLogin } from "./attempt.ts";
import type { Destination } from "./destination.ts";
import type { SshSettings } from "./settings.ts";
import type { SshConnection, SshOptions } from "./ssh-connection.ts";

export interface SystemOptions extends SshOptions {
  destination: Destination;
  label: string;
  settings: SshSettings;
  needs: string[];
  refused?: RefusedLogin;
}

export async function connectBySystem(options: SystemOptions): Promise<SshConnection> {
  throw new MeshError("CONFIG", `${options.label} needs ${options.needs.join(", ")}, which mesh lacks so far`);
}
