// Options of every TCP socket.

/**
 * A connection whose other machine is gone without a word is broken by the kernel about 25 s after it last sent
 * something (10 probes, 1 s apart: Bun's figures); sessions have their own, shorter heartbeat.
 */
export const KEEP_ALIVE_AFTER_MS = 15_000;

export function tune(socket: Bun.Socket<unknown>): void {
  socket.setNoDelay(true); // links gather their frames themselves
  socket.setKeepAlive(true, KEEP_ALIVE_AFTER_MS);
}
