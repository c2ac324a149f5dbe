import { describe, expect, it } from "vitest";
import { type NodeEvent, type NodeInfo, NodeView } from "../../core/api/node-view.ts";
import { ManualClock } from "../../core/clock.ts";

function nodeOf(node: number, name: string, status: NodeInfo["status"] = "up"): NodeInfo {
  const facts = { host: `${name}.lan`, slots: 2, tags: [], cores: 2, arch: "x64", memoryBytes: 1e9 };
  return { node, name, role: "worker", status, ...facts };
}

function viewOf(...nodes: NodeInfo[]) {
  const clock = new ManualClock();
  const view = new NodeView(nodes, clock);
  const events: string[] = [];
  const note = ({ event, node }: NodeEvent) => void events.push(`${node.name}/${node.node} ${event} ${node.status}`);
  return { view, clock, events, note };
}

describe("NodeView", () => {
  it("F12 tells of nodes that come, go, go down and come up again", () => {
    const { view, events, note } = viewOf(nodeOf(20, "gpu1"), nodeOf(21, "gpu2"));
    view.listen(note);
    view.update([nodeOf(20, "gpu1"), nodeOf(21, "gpu2", "down"), nodeOf(22, "gpu3"), nodeOf(23, "gpu4", "down")]);
    expect(events.splice(0)).toEqual(["gpu2/21 offline down", "gpu3/22 online up"]);
    view.update([nodeOf(20, "gpu1"), nodeOf(21, "gpu2"), nodeOf(22, "gpu3"), nodeOf(23, "gpu4", "down")]);
    expect(events.splice(0)).toEqual(["gpu2/21 online up"]);
    view.update([nodeOf(20, "gpu1"), nodeOf(21, "gpu2")]);
    expect(events).toEqual(["gpu3/22 offline down"]); // gpu4 was down before
    expect(view.list.map(({ name }) => name)).toEqual(["gpu1", "gpu2"]);
  });

  it("F12 a node that was started anew is offline under its old number before it is online", () => {
    const { view, events, note } = viewOf(nodeOf(20, "gpu1"));
    view.listen(note);
    view.update([nodeOf(30, "gpu1")]);
    expect(events).toEqual(["gpu1/20 offline down", "gpu1/30 online up"]);
  });

  it("F12 what does not change is not told; unsubscribing ends one listener alone", () => {
    const { view, events, note } = viewOf(nodeOf(20, "gpu1"));
    const stops = [view.listen(note), view.listen(note)];
    view.update([{ ...nodeOf(20, "gpu1"), tags: ["new"] }]);
    expect(events).toEqual([]);
    stops[0]!();
    stops[0]!();
    view.update([]);
    expect(events).toEqual(["gpu1/20 offline down"]);
    stops[1]!();
    view.update([nodeOf(21, "gpu2")]);
    expect(events).toHaveLength(1);
  });

  it("F14 locate finds a node that is up at once, and waits for one that comes or comes up", async () => {
    const { view } = viewOf(nodeOf(20, "gpu1"), nodeOf(21, "gpu2", "down"));
    expect(await view.locate("gpu1")).toMatchObject({ node: 20 });
    const late = [view.locate("gpu2"), view.locate("gpu3")];
    view.update([nodeOf(20, "gpu1"), nodeOf(21, "gpu2"), nodeOf(22, "gpu4")]);
    view.update([nodeOf(20, "gpu1"), nodeOf(23, "gpu3")]);
    expect((await Promise.all(late)).map(({ node }) => node)).toEqual([21, 23]);
  });

  it("F14 locate gives up with TIMEOUT, naming the nearest name and those that are up", async () => {
    const { view, clock } = viewOf(nodeOf(20, "gpu1"), nodeOf(21, "cpu1"), nodeOf(22, "gpu3", "down"));
    const near = view.locate("gpu12", { timeoutMs: 500 }).catch((error) => [error.code, error.message]);
    const far = view.locate("elsewhere", { timeoutMs: 500 }).catch((error) => error.message);
    const never = view.locate("gpu3").catch((error) => error.message);
    clock.advance(499);
    expect(await Promise.race([near, far, Promise.resolve("waits")])).toBe("waits");
    clock.advance(1);
    const up = "up are gpu1, cpu1";
    expect(await near).toEqual(["TIMEOUT", `no node gpu12 came within 500 ms; did you mean gpu1? ${up}`]);
    expect(await far).toBe(`no node elsewhere came within 500 ms; ${up}`);
    clock.advance(29_500);
    expect(await never).toBe(`no node gpu3 came within 30000 ms; did you mean gpu1? ${up}`);
  });

  it("F14 locate ends with CANCELLED by its signal, before or while it waits", async () => {
    const { view } = viewOf(nodeOf(20, "gpu1"));
    const reason = new Error("enough");
    await expect(view.locate("gpu1", { signal: AbortSignal.abort(reason) })).rejects.toMatchObject({
      code: "CANCELLED",
      cause: reason,
    });
    const stop = new AbortController();
    const waiting = view.locate("gpu2", { signal: stop.signal });
    stop.abort(reason);
    await expect(waiting).rejects.toMatchObject({ code: "CANCELLED", cause: reason });
  });
});
