import type { JobTerminal } from "../core/job/head.ts";
export function openTerminal(): { terminal: JobTerminal; showsProgress: boolean; end(): Promise<void> } {
  const out = { stdout: Bun.stdout, stderr: Bun.stderr };
  return {
    showsProgress: false,
    end: async () => {},
    terminal: {
      driver: async (s, b) => void (await Bun.write(out[s], b)),
      slot: async (s, _l, b) => void (await Bun.write(out[s], b)),
      notice: (t) => console.error("mesh: " + t),
      progress: () => {},
    },
  };
}
