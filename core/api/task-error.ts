// Which task an error came from: kept beside the error, and as a line in its stack.

export interface TaskPlace {
  host: string;
  /** Number of the slot on its host, from 1. */
  seat: number;
  /** The call: "pool.map". */
  label: string;
  /** Index of the item; undefined for a call without items. */
  item: number | undefined;
  /** How often it was tried, from 1. */
  attempt: number;
}

const places = new WeakMap<object, TaskPlace>();

/** Remembers where an error came from and adds it to its stack; errors that are no objects are left alone. */
export function noteTask(error: unknown, place: TaskPlace): void {
  if (typeof error !== "object" || error === null) return;
  places.set(error, place);
  if (!(error instanceof Error)) return;
  const item = place.item === undefined ? "" : ` item ${place.item}`;
  const attempt = place.attempt === 1 ? "" : `, attempt ${place.attempt}`;
  const line = `    at ${place.label}${item}${attempt} (${place.host}/${place.seat})`;
  const stack = `${error.stack ?? `${error.name}: ${error.message}`}\n${line}`;
  Object.defineProperty(error, "stack", { value: stack, writable: true, enumerable: false, configurable: true });
}

/** Tells which item of which call failed, where and at which attempt; undefined for other errors. */
export function taskOf(error: unknown): Readonly<TaskPlace> | undefined {
  return typeof error === "object" && error !== null ? places.get(error) : undefined;
}
