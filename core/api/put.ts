// put(): a value that many tasks use, sent to each host once.
import { handleServices } from "./handle-services.ts";
import { Ref } from "./put-ref.ts";
import { asCalled } from "./task-error.ts";

/**
 * Keeps a value in this process for all that get the reference, which costs some bytes to send, captured or passed. The value
 * is copied now: later changes of the original are not seen. Throws CANNOT_TRAVEL naming the path of what cannot be sent.
 */
export function put<T>(value: T): Ref<T> {
  return asCalled(() => {
    const { puts } = handleServices();
    return new Ref<T>(puts, puts.put(value));
  });
}
