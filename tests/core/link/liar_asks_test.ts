/** Whatever a proved peer says that it knows of the tree, and whatever it asks: the node goes on. */
import { assert, assertEquals } from "@std/assert";
import { FrameType, jsonFrame } from "../../../core/link/frames.ts";
import { Handshake } from "../../../core/link/handshake.ts";
import { Wire } from "../../../core/link/wire.ts";
import type { View } from "../../../core/tree/view.ts";
import { Liars } from "../../support/liars.ts";
import { CountingRandom } from "../../support/small.ts";

/** Shakes hands as "b", says it, and gives what came back. */
async function say(liars: Liars, view: View | null, question: unknown): Promise<string> {
  const wire = new Wire(liars.visit(), liars.clock);
  const handshake = new Handshake({
    cluster: "payroll",
    node: "b",
    instance: "7".repeat(32),
    secret: new Uint8Array(32),
    peer: "a",
    view,
    purpose: question === null ? "view" : "ask",
    admit: () => null,
    random: new CountingRandom(9),
    channel: { channelBinding: null, certifiedNames: null },
  });
  let said = "nothing";
  const talk = (async () => {
    wire.send(handshake.begin());
    for (;;) {
      const step = handshake.step(await wire.receive());
      if (step.kind === "refused") {
        said = step.refusal.code;
        return;
      }
      if (step.send !== null) wire.send(step.send);
      if (step.kind === "done") break;
    }
    said = "done";
    if (question === null) return;
    wire.send(jsonFrame(FrameType.ASK, question));
    said = new TextDecoder().decode((await wire.receive()).body);
  })().catch((error) => said = String(error));
  await liars.pass(300);
  wire.close();
  await talk;
  return said;
}

const NUMBERS = [0, 1, 40, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1];

Deno.test("a view that cannot be is refused, and no view stops a node", async () => {
  const liars = await Liars.start();
  try {
    for (const reign of NUMBERS) {
      for (const primary of ["a", "b", "nobody", "__proto__"]) {
        const parents = {
          b: { to: "b", reign, serial: reign },
          nobody: { to: "a", reign: 1, serial: 1 },
        };
        await say(liars, { primary, reign, reignId: "f".repeat(32), parents }, null);
        assertEquals(liars.a.node.phase, "running", `${primary} ${reign}`);
      }
    }
    liars.write(0, 4096, 1);
    await liars.pass(3_000);
    assertEquals(liars.b.node.pipeline.appliedLsn, liars.a.node.pipeline.appliedLsn);
  } finally {
    await liars.end();
  }
});

Deno.test("no question stops a node, however wrong it is", async () => {
  const liars = await Liars.start({ hasTree: true });
  try {
    liars.write(0, 4096, 1);
    await liars.pass(300);
    const epochId = liars.a.node.pipeline.history.lastId;
    const questions: unknown[] = [{}, [], null, { ask: "nothing" }, { ask: "standing" }, {
      ask: "release",
    }];
    for (const lsn of [...NUMBERS, 16, 64, liars.a.node.pipeline.appliedLsn - 16]) {
      for (const to of ["b", "a", "nobody"]) {
        questions.push({ ask: "offer", to, lsn, epochId });
        questions.push({ ask: "yield", to, endLsn: lsn });
      }
    }
    questions.push({ ask: "hold", leaseMs: 1e300 }, { ask: "ship", to: "nobody" });
    questions.push({ ask: "order", order: { order: "reparent", dryRun: true, to: "nobody" } });
    const view = { primary: "b", reign: 4096, reignId: "f".repeat(32), parents: {} };
    questions.push({ ask: "write", view, id: "1" }, { ask: "write", view, id: "/etc/passwd" });
    questions.push({ ask: "order", order: { order: "write", dryRun: false } });
    for (const question of questions) {
      const said = await say(liars, null, question);
      assert(said !== "nothing", JSON.stringify(question));
      assertEquals(liars.a.node.phase, "running", `${JSON.stringify(question)}: ${said}`);
    }
    liars.write(8192, 4096, 2);
    await liars.pass(12_000);
    assertEquals(liars.b.node.pipeline.appliedLsn, liars.a.node.pipeline.appliedLsn);
  } finally {
    await liars.end();
  }
});
