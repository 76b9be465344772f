import { assert, assertEquals, assertMatch } from "@std/assert";
import { isBoundary, lsnAtTime, markNamed } from "../../../core/marks/find_lsn.ts";
import { ViewExport } from "../../../core/marks/image_view.ts";
import { settle } from "../../support/manual_clock.ts";
import { assertCode, assertRejectsCode, must } from "../../support/small.ts";
import { makeMarks, type MarkedRig } from "./made_up_marks.ts";

/** Lets time go by, ticking. */
async function pass(node: MarkedRig, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 100) {
    node.rig.clock.advance(100);
    node.marks.tick();
    await settle();
  }
}

Deno.test("an LSN is found by the time of its record, and by a mark's name", async () => {
  const node = await makeMarks({});
  await node.marks.start();
  const { rig: { pipeline, clock } } = node;
  const ends: number[] = [];
  for (let i = 0; i < 40; i++) ends.push(await node.write(i % 8, i + 1));
  const mark = await node.mark("m");
  // A record's time is made of the LSN at which it begins.
  for (const [index, end] of ends.entries()) {
    const beginsMs = 1000 + (ends[index - 1] ?? 0);
    assertEquals(await lsnAtTime(pipeline, beginsMs, clock), end);
    assertEquals(await lsnAtTime(pipeline, beginsMs - 1, clock), ends[index - 1] ?? 0);
    assert(await isBoundary(pipeline, end, clock));
    assert(!await isBoundary(pipeline, end - 16, clock));
  }
  assertEquals(await lsnAtTime(pipeline, 1e12, clock), pipeline.stableLsn);
  assertEquals(markNamed(pipeline, "m"), mark);
  assertMatch(assertCode(() => markNamed(pipeline, "x"), "not-found"), /no mark "x"/);
});

Deno.test("a hook finds the volumes exactly at the mark, and applying goes on behind it", async () => {
  const node = await makeMarks({ onMark: ["snap"] });
  await node.marks.start();
  await node.write(0, 1);
  const mark = await node.mark("m");
  await node.write(0, 2);
  await node.write(1, 3);
  await pass(node, 200);
  assertEquals(node.image().slice(0, 2), [1, 0]);
  assertEquals(node.rig.pipeline.checkpointedLsn, mark.endLsn);
  const [hook] = node.hooks;
  assertEquals(hook?.env.CASCADE_MARK, "m");
  assertEquals(hook?.env.CASCADE_LSN, String(mark.endLsn));
  assertEquals([hook?.env.CASCADE_VOLUME, hook?.env.CASCADE_VOLUME_MY_DATA], ["/data", "/data"]);
  assertEquals(node.marks.status()?.frozenAt?.name, "m");
  hook?.end();
  await pass(node, 200);
  assertEquals(node.image().slice(0, 2), [2, 3]);
  assertEquals([node.state.marksDoneLsn, node.hooks.length], [mark.endLsn, 1]);
  assertEquals(node.marks.status()?.lastHook?.outcome, "done");
});

Deno.test("a hook that was cut short runs again over the same image", async () => {
  const node = await makeMarks({ onMark: ["snap"] });
  await node.marks.start();
  await node.write(0, 1);
  const mark = await node.mark("m");
  await node.write(0, 2);
  await pass(node, 200);
  const checkpointLsn = node.rig.pipeline.checkpointedLsn;
  await node.marks.stop();
  await node.rig.pipeline.stop(null);
  const again = await makeMarks(
    { onMark: ["snap"] },
    { disk: node.rig.disk, checkpointLsn },
    node.state,
  );
  await again.marks.start();
  await again.rig.pipeline.applyDue();
  await pass(again, 200);
  assertEquals([again.image()[0], again.hooks.length], [1, 1]);
  again.hooks[0]?.end(new Error("no room for a snapshot"));
  await pass(again, 200);
  // However it ended: applying goes on, and the failure is told.
  assertEquals([again.image()[0], again.state.marksDoneLsn], [2, mark.endLsn]);
  assertEquals(again.marks.status()?.hookFailures, 1);
  assertEquals(again.journal.lines.filter(({ level }) => level === "error").length, 1);
});

Deno.test("a mark that comes while the node stops holds back what lies behind it", async () => {
  const node = await makeMarks({ onMark: ["snap"] });
  await node.marks.start();
  await node.write(0, 1);
  await node.marks.stop();
  const mark = await node.mark("m");
  await node.write(0, 2);
  await node.rig.pipeline.applyDue();
  await pass(node, 200);
  assertEquals([node.image()[0], node.rig.pipeline.heldAtLsn], [1, mark.endLsn]);
  // Its command is for the next life.
  assertEquals(node.hooks.length, 0);
});

Deno.test("a delay applies what is old enough by the primary's clock, and a crash nothing earlier", async () => {
  const node = await makeMarks({ applyDelayMs: 5000 });
  await node.marks.start();
  const first = await node.write(0, 1);
  await node.write(0, 2);
  node.tide.heard(1000 + 4999, 0);
  await pass(node, 900);
  // The second one was written as many milliseconds later as the first has bytes.
  assertEquals([node.image()[0], node.state.applyReachLsn], [1, first]);
  const { rig: { pipeline } } = node;
  assertEquals(pipeline.appliedLsn, first);
  assert((node.marks.status()?.heldBytes ?? 0) > 0 && node.marks.status()?.dueBytes === 0);
  await node.marks.stop();
  await pipeline.stop(null);
  // Nothing was heard of the primary yet: what had been applied is again, and nothing else.
  const again = await makeMarks({ applyDelayMs: 5000 }, { disk: node.rig.disk }, node.state);
  await again.marks.start();
  await again.rig.pipeline.applyDue();
  await pass(again, 900);
  assertEquals([again.rig.pipeline.appliedLsn, again.image()[0]], [first, 1]);
  again.tide.heard(1000 + first + 5000, 0);
  await pass(again, 1500);
  assertEquals(again.image()[0], 2);
});

Deno.test("a delay gives way to the log's budget, loudly", async () => {
  const node = await makeMarks({ applyDelayMs: 3_600_000 }, {
    segmentBytes: 64 * 1024,
    budgetBytes: 256 * 1024,
  });
  await node.marks.start();
  const { rig: { pipeline } } = node;
  for (let i = 0; i < 200; i++) {
    for (let turn = 0; !pipeline.accepts(8192); turn++) {
      assert(turn < 200, "there is room before long");
      await pass(node, 100);
    }
    await node.write(i % 8, i % 250 + 1);
  }
  assert((node.marks.status()?.earlyBytes ?? 0) > 0);
  assert(pipeline.appliedLsn > 0 && pipeline.appliedLsn < pipeline.stableLsn);
  assert(node.journal.lines.some(({ message }) => /before their time/.test(message)));
  assertEquals(node.rig.fatal, []);
});

Deno.test("an export shows the image as of an LSN, while applying waits for it", async () => {
  const node = await makeMarks({ applyDelayMs: 3_600_000 });
  await node.marks.start();
  for (let block = 0; block < 4; block++) await node.write(block, block + 1);
  const mark = await node.mark("m");
  const then = node.rig.log.endLsn;
  for (let block = 0; block < 8; block++) await node.write(block, 100 + block);
  const view = await node.marks.views.open({ mark: "m" }, null, 60_000);
  assertEquals([view.lsn, view.lsn], [mark.endLsn, then]);
  assertMatch(view.uris[0] ?? "", /^nbd\+unix:\/\/\/data\?socket=\/dr\/view-/);
  assertEquals(node.image(), [0, 0, 0, 0, 0, 0, 0, 0]);
  await assertRejectsCode(node.marks.views.open({ lsn: then - 16 }, null, null), "usage");
  await assertRejectsCode(node.marks.views.open({ lsn: then + 1e9 }, null, null), "refused");
  await assertRejectsCode(node.marks.views.open({ mark: "m" }, "tcp://0.0.0.0:1", null), "usage");
  // All is due: applying goes up to the image, and waits there.
  node.tide.heard(1e12, 0);
  await pass(node, 1500);
  assertEquals(node.image(), [1, 2, 3, 4, 0, 0, 0, 0]);
  assertEquals(node.rig.pipeline.appliedLsn, then);
  node.marks.views.close(view.id);
  await pass(node, 300);
  assertEquals(node.image()[7], 107);
  await assertRejectsCode(node.marks.views.open({ mark: "m" }, null, null), "refused");
  // Nobody is heard of: it closes by itself.
  await node.write(0, 9);
  const last = await node.marks.views.open({ lsn: node.rig.pipeline.stableLsn }, null, 1000);
  await pass(node, 1500);
  assertEquals(node.marks.views.status(), []);
  assertCode(() => node.marks.views.keep(last.id), "not-found");
});

Deno.test("reads of an image stay the same at each step of applying up to it", async () => {
  const { ImageView } = await import("../../../core/marks/image_view.ts");
  const node = await makeMarks({ applyDelayMs: 3_600_000 });
  await node.marks.start();
  const { rig: { pipeline, clock } } = node;
  const ends: number[] = [];
  for (let i = 0; i < 24; i++) ends.push(await node.write((i * 5) % 8, i + 1));
  const asOf = ends[15] ?? 0;
  const want = [0, 0, 0, 0, 0, 0, 0, 0];
  for (let i = 0; i < 16; i++) want[(i * 5) % 8] = i + 1;
  const view = new ImageView(pipeline, asOf, () => null);
  await view.build(clock);
  const [volume] = view.volumes;
  must(volume !== undefined);
  const exported = new ViewExport(view, volume, {} as never, "");
  for (const end of [0, ...ends.slice(0, 16)]) {
    if (end > 0) pipeline.holdAt(end);
    clock.advance(20);
    await settle();
    assertEquals(pipeline.appliedLsn, end);
    const bytes = new Uint8Array(8 * 4096);
    exported.read(bytes, 0);
    assertEquals(Array.from({ length: 8 }, (_, block) => bytes[block * 4096]), want);
  }
  view.end("it is over");
  assertCode(() => exported.read(new Uint8Array(1), 0), "refused");
});
