import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Log } from "../../core/log/log.ts";
import {
  encodeEpoch,
  encodeName,
  recordBytes,
  RecordType,
  writeRecord,
} from "../../core/log/record.ts";
import { DenoClock } from "../../io/clock.ts";
import { DenoDisk } from "../../io/disk.ts";
import { cascade, inFolder } from "./cascade.ts";

const ID = "0123456789abcdef0123456789abcdef";
const TIME_MS = Date.UTC(2026, 0, 2, 3, 4, 5, 6);

/**
 * A node's folder with a log of five records of every type, then twenty writes, and with `jumpLsn` one
 * more behind a delta; closed.
 */
async function makeLog(folder: string, jumpLsn?: number): Promise<void> {
  Deno.mkdirSync(`${folder}/log`);
  const { log } = await Log.open({
    disk: new DenoDisk(),
    clock: new DenoClock(),
    folder: `${folder}/log`,
    budgetBytes: 256 * 1024,
    segmentBytes: 64 * 1024,
    checkpointLsn: 0,
    events: { onDurable() {}, onRoom() {}, onDiskFull() {}, onFatal() {} },
  });
  const append = (type: RecordType, offset: number, length: number, payload: Uint8Array) => {
    const record = new Uint8Array(recordBytes(type, length));
    const flags = type === RecordType.ZERO ? 1 : 0;
    const volume = payload.length === length && type !== RecordType.WRITE ? 0 : 1;
    writeRecord(record, 0, type, flags, volume, 7, log.endLsn, offset, length, TIME_MS, payload);
    log.append(record);
  };
  const none = new Uint8Array(0);
  const epoch = encodeEpoch({ number: 7, id: ID, firstLsn: 0, node: "hq" });
  append(RecordType.EPOCH, 0, epoch.length, epoch);
  append(RecordType.ZERO, 4096, 1 << 20, none);
  append(RecordType.TRIM, 8192, 512, none);
  append(RecordType.MARK, 0, 6, encodeName("before"));
  for (let i = 0; i < 20; i++) {
    append(RecordType.WRITE, 512 * i, 1000, new Uint8Array(1000).fill(0xee));
  }
  if (jumpLsn !== undefined) {
    await log.jump(jumpLsn);
    append(RecordType.WRITE, 0, 1000, new Uint8Array(1000).fill(0xdd));
  }
  await log.flushed();
  await log.close();
}

/** Where the records begin: an epoch of 80 bytes, three of 48, 48 and 64, then writes of 1056. */
const FIRST_WRITE = 80 + 48 + 48 + 64;
const END = FIRST_WRITE + 20 * 1056;

function flip(path: string, offset: number): void {
  const bytes = Deno.readFileSync(path);
  bytes[offset]! ^= 1;
  Deno.writeFileSync(path, bytes);
}

Deno.test("log ls lists the segments, and the whole in one line", async () => {
  await inFolder(async (folder) => {
    await makeLog(folder);
    const { code, stdout, stderr } = await cascade(folder, ["log", "ls", "."]);
    assertEquals([code, stderr], [0, ""]);
    const lines = stdout.split("\n");
    assertMatch(lines[0]!, /^FILE +STATE +BASE +END +RECORDS +DURABLE$/);
    assertMatch(lines[1]!, new RegExp(`^000001.seg +stream +0 +${END} +24 +${END}$`));
    assertMatch(lines[2]!, /^000002.seg +free +- +- +- +-$/);
    assertStringIncludes(lines[3]!, `LSN 0 to ${END}, 24 records, known durable up to ${END}`);
    const json = JSON.parse((await cascade(folder, ["log", "ls", "log", "--json"])).stdout);
    assertEquals([json.endLsn, json.records, json.segments.length], [END, 24, 2]);
  });
});

Deno.test("log dump prints records, one a line, and never their payload", async () => {
  await inFolder(async (folder) => {
    await makeLog(folder);
    const { code, stdout } = await cascade(folder, ["log", "dump", ".", "--limit", "5"]);
    assertEquals(code, 0);
    assertEquals(stdout.split("\n"), [
      `0 2026-01-02T03:04:05.006Z epoch 7 epoch ${ID} of hq`,
      "80 2026-01-02T03:04:05.006Z epoch 7 zero volume 1 offset 4096 length 1048576 no hole",
      "128 2026-01-02T03:04:05.006Z epoch 7 trim volume 1 offset 8192 length 512",
      '176 2026-01-02T03:04:05.006Z epoch 7 mark "before"',
      "240 2026-01-02T03:04:05.006Z epoch 7 write volume 1 offset 0 length 1000",
      "",
    ]);
    const from = String(FIRST_WRITE + 1);
    const json = await cascade(folder, ["log", "dump", ".", "--from", from, "--json"]);
    const lines = json.stdout.trim().split("\n").map((line) => JSON.parse(line));
    assertEquals(lines.length, 19);
    assertEquals(lines[0], {
      lsn: FIRST_WRITE + 1056,
      type: "write",
      epoch: 7,
      timeMs: TIME_MS,
      bytes: 1056,
      file: "./log/000001.seg",
      fileOffset: 4096 + FIRST_WRITE + 1056,
      volume: 1,
      offset: 512,
      length: 1000,
    });
  });
});

Deno.test("log check is silent and 0 for a whole log, and changes nothing", async () => {
  await inFolder(async (folder) => {
    await makeLog(folder);
    const path = `${folder}/log/000001.seg`;
    const before = Deno.readFileSync(path);
    Deno.chmodSync(path, 0o400);
    assertEquals(await cascade(folder, ["log", "check", "."]), { code: 0, stdout: "", stderr: "" });
    assertEquals(Deno.readFileSync(path), before);
  });
});

Deno.test("log check tells every damaged place with file, offset and LSN, and ends with 3", async () => {
  await inFolder(async (folder) => {
    await makeLog(folder);
    const path = `${folder}/log/000001.seg`;
    const lsns = [3, 9, 19].map((index) => FIRST_WRITE + index * 1056);
    for (const lsn of lsns) flip(path, 4096 + lsn + 500);
    flip(path, 1100);
    const { code, stdout, stderr } = await cascade(folder, ["log", "check", "."]);
    assertEquals([code, stderr], [3, ""]);
    assertEquals(stdout.split("\n"), [
      "./log/000001.seg offset 1024: a slot of the watermark of the segment is damaged",
      ...lsns.map((lsn) => `./log/000001.seg offset ${4096 + lsn} LSN ${lsn}: wrong CRC`),
      "",
    ]);
    const json = JSON.parse((await cascade(folder, ["log", "check", ".", "--json"])).stdout);
    assertEquals(json.damage.length, 4);
  });
});

Deno.test("log check takes a torn end for what it is", async () => {
  await inFolder(async (folder) => {
    await makeLog(folder);
    const path = `${folder}/log/000001.seg`;
    // As if the flush that covered the last records had never been: both slots older than them.
    const bytes = Deno.readFileSync(path);
    bytes.fill(0, 512, 1536);
    const lsn = FIRST_WRITE + 15 * 1056;
    bytes[4096 + lsn + 60]! ^= 8;
    Deno.writeFileSync(path, bytes);
    const { code, stdout, stderr } = await cascade(folder, ["log", "check", "."]);
    assertEquals([code, stdout], [0, ""]);
    assertStringIncludes(stderr, `note: the log ends at LSN ${lsn} (./log/000001.seg, offset`);
    assert(stderr.trim().split("\n").length === 1);
  });
});

Deno.test("what came as a delta is shown by ls and dump, and is no damage to check", async () => {
  await inFolder(async (folder) => {
    await makeLog(folder, 1_000_000);
    const gap = `LSN ${END} to 1000000 came as a delta`;
    const list = await cascade(folder, ["log", "ls", "."]);
    assertEquals([list.code, list.stdout.split("\n").includes(gap)], [0, true]);
    assertMatch(list.stdout, /stream +1000000 +1001056 +1 /);
    const json = JSON.parse((await cascade(folder, ["log", "ls", ".", "--json"])).stdout);
    assertEquals(json.gaps, [{ fromLsn: END, toLsn: 1_000_000 }]);
    const check = await cascade(folder, ["log", "check", "."]);
    assertEquals([check.code, check.stdout], [0, ""]);
    assertStringIncludes(check.stderr, gap);
    const from = ["--from", String(END - 1056)];
    const dump = await cascade(folder, ["log", "dump", ".", ...from]);
    assertEquals(dump.stdout.split("\n").map((line) => line.split(" write")[0]), [
      `${END - 1056} 2026-01-02T03:04:05.006Z epoch 7`,
      gap,
      "1000000 2026-01-02T03:04:05.006Z epoch 7",
      "",
    ]);
    const lines = (await cascade(folder, ["log", "dump", ".", ...from, "--json"])).stdout.split(
      "\n",
    );
    const file = "./log/000002.seg";
    assertEquals(JSON.parse(lines[1]!), { type: "delta", lsn: END, toLsn: 1_000_000, file });
    const limited = await cascade(folder, ["log", "dump", ".", ...from, "--limit", "1"]);
    assertEquals(limited.stdout.split("\n").length, 2);
  });
});

Deno.test("a folder without a log is told", async () => {
  await inFolder(async (folder) => {
    const { code, stderr } = await cascade(folder, ["log", "check", "."]);
    assertEquals(code, 1);
    assertStringIncludes(stderr, "the folder holds no log (folder .). Name a node's folder");
  });
});
