import { assert, assertEquals } from "@std/assert";
import { crc32 } from "node:zlib";
import { type NodeState, STATE_FORMAT, StateFile } from "../../core/state.ts";
import { MemoryDisk } from "../support/memory_disk.ts";
import { assertCode, assertRejectsCode, makeEpoch } from "../support/small.ts";

const FOLDER = "/node";
const PATH = `${FOLDER}/state.json`;

function makeState(change: Partial<NodeState> = {}): NodeState {
  return {
    format: STATE_FORMAT,
    cluster: "payroll",
    node: "hq",
    reigned: true,
    volumes: [{ name: "data", sizeBytes: 4096, path: "/data" }],
    base: { data: "blank" },
    inPlace: null,
    paused: [],
    limited: [],
    runs: [],
    scan: null,
    verified: [],
    checkpointLsn: 160,
    view: null,
    rejoin: null,
    cutLsn: null,
    cutKept: null,
    fed: false,
    history: [makeEpoch(1, 0)],
    taken: [],
    clean: false,
    ...change,
  };
}

function makeDisk(): MemoryDisk {
  const disk = new MemoryDisk();
  disk.makeFolder(FOLDER);
  return disk;
}

/** The two lines of a state file with a right checksum. */
function lines(text: string): Uint8Array {
  const sum = crc32(text).toString(16).padStart(8, "0");
  return new TextEncoder().encode(`${text}\n${sum}\n`);
}

Deno.test("a folder without a state file has no state", () => {
  assertEquals(new StateFile(makeDisk(), FOLDER).load(), null);
});

Deno.test("a state comes back as it was saved", async () => {
  const disk = makeDisk();
  const limited = [{ link: "hq-dr", rate: 2 ** 20 }, { link: "hq-lab", rate: null }];
  const states = [makeState(), makeState({ base: null, clean: true, history: [], limited })];
  for (const state of states) {
    await new StateFile(disk, FOLDER).save(state);
    assertEquals(new StateFile(disk, FOLDER).load(), state);
  }
  assertEquals(disk.openCount, 0);
});

Deno.test("a save flushes the new file, then renames it, then flushes the folder", async () => {
  const disk = makeDisk();
  await new StateFile(disk, FOLDER).save(makeState());
  assertEquals(disk.events, [`flush ${PATH}.new`, `rename ${PATH}.new ${PATH}`, `flush ${FOLDER}`]);
});

Deno.test("the old state is there until the new one is complete", async () => {
  const disk = makeDisk();
  const file = new StateFile(disk, FOLDER);
  await file.save(makeState({ checkpointLsn: 16 }));
  let go = () => {};
  disk.beforeFlush = () => new Promise((resolve) => go = resolve);
  const saving = file.save(makeState({ checkpointLsn: 32 }));
  await Promise.resolve();
  assertEquals(file.load()?.checkpointLsn, 16);
  disk.beforeFlush = () => Promise.resolve();
  go();
  await saving;
  assertEquals(file.load()?.checkpointLsn, 32);
});

Deno.test("what a crash left of a new state does not disturb the next save", async () => {
  const disk = makeDisk();
  disk.place(`${PATH}.new`, new Uint8Array(9999).fill(65));
  const file = new StateFile(disk, FOLDER);
  assertEquals(file.load(), null);
  await file.save(makeState());
  assertEquals(file.load(), makeState());
});

Deno.test("saves that overlap are done in their order", async () => {
  const disk = makeDisk();
  const file = new StateFile(disk, FOLDER);
  await Promise.all([1, 2, 3].map((n) => file.save(makeState({ checkpointLsn: 16 * n }))));
  assertEquals(file.load()?.checkpointLsn, 48);
});

Deno.test("a save that fails is told to its caller and not to the next one", async () => {
  const disk = makeDisk();
  const file = new StateFile(disk, FOLDER);
  let fails = true;
  disk.beforeFlush = () => fails ? Promise.reject(new Error("no")) : Promise.resolve();
  const first = file.save(makeState({ checkpointLsn: 16 })).catch(() => {
    fails = false;
    return "failed";
  });
  assertEquals(await first, "failed");
  await file.save(makeState({ checkpointLsn: 32 }));
  assertEquals(file.load()?.checkpointLsn, 32);
  assertEquals(disk.openCount, 0);
});

Deno.test("every flipped bit of a state file is found", async () => {
  const disk = makeDisk();
  const file = new StateFile(disk, FOLDER);
  await file.save(makeState());
  const good = disk.file(PATH).bytes;
  for (let bit = 0; bit < good.length * 8; bit++) {
    const bad = Uint8Array.from(good);
    bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    disk.place(PATH, bad);
    assertCode(() => file.load(), "state-corrupt");
  }
});

Deno.test("a state file cut short anywhere is found", async () => {
  const disk = makeDisk();
  const file = new StateFile(disk, FOLDER);
  await file.save(makeState());
  const good = disk.file(PATH).bytes;
  // Without its last line feed it still says all that it said.
  for (let length = 0; length < good.length - 1; length++) {
    disk.place(PATH, good.subarray(0, length));
    assertCode(() => file.load(), "state-corrupt");
  }
});

Deno.test("a folder of another format is told apart from a damaged one", () => {
  const disk = makeDisk();
  disk.place(PATH, lines(JSON.stringify({ format: STATE_FORMAT + 1, future: true })));
  const message = assertCode(() => new StateFile(disk, FOLDER).load(), "wrong-folder");
  assert(message.includes(`format ${STATE_FORMAT + 1}`), message);
});

Deno.test("a state with a right checksum and a wrong field is refused", () => {
  const disk = makeDisk();
  for (const change of [{ checkpointLsn: -1 }, { clean: "yes" }, { history: [{ number: 1 }] }]) {
    disk.place(PATH, lines(JSON.stringify({ ...makeState(), ...change })));
    assertCode(() => new StateFile(disk, FOLDER).load(), "state-corrupt");
  }
});

Deno.test("a state file that is far too large is not read", () => {
  const disk = makeDisk();
  disk.place(PATH, new Uint8Array(2 * 1024 * 1024));
  assertCode(() => new StateFile(disk, FOLDER).load(), "state-corrupt");
});

Deno.test("a save into a folder that is gone says so", async () => {
  await assertRejectsCode(new StateFile(new MemoryDisk(), "/gone").save(makeState()), "not-found");
});
