import { assert, assertEquals, assertRejects } from "@std/assert";
import { syncAsNode, type SyncNode } from "../../cli/sync_here.ts";
import { syncCommand } from "../../cli/sync.ts";
import { performSync, type SyncRunOptions } from "../../cli/sync_run.ts";
import { failureLines, summaryLine, verdictOf } from "../../cli/sync_text.ts";
import { CascadeError, type ErrorCode, isCascadeError } from "../../core/errors.ts";
import { SyncGate } from "../../core/sync_gate.ts";
import type { SyncLinkReport, SyncReport, SyncRunner } from "../../core/sync_report.ts";
import { startAdmin } from "../../io/admin.ts";
import { fetchStatus } from "../../io/admin_client.ts";
import { lockFile } from "../../io/file_lock.ts";
import { linkStatus, nodeStatus } from "../io/fixtures.ts";
import { inFolder } from "./cascade.ts";

const MIB = 1024 * 1024;

function linkReport(change: Partial<SyncLinkReport> = {}): SyncLinkReport {
  return {
    link: "hq-dr1",
    outcome: "done",
    fromLsn: 0,
    toLsn: 80 * MIB,
    logBytes: 80 * MIB,
    deltaBytes: 12 * MIB,
    sentBytes: 12 * MIB,
    durationMs: 3200,
    reason: null,
    ...change,
  };
}

const FAILED = linkReport({ link: "hq-dr2", outcome: "failed", reason: "the peer has no room" });
const AWAY = { ...FAILED, fromLsn: null, toLsn: null, reason: "nobody answers" };
const NOTHING = linkReport({ link: "hq-dr3", outcome: "nothing", deltaBytes: 0, logBytes: 0 });

/** Notes what it is asked, and answers when it is let go on. */
class FakeRunner implements SyncRunner {
  readonly asked: string[] = [];
  report: SyncReport = { links: [linkReport()] };
  /** What the answer waits for. */
  gate: Promise<unknown> = Promise.resolve();

  async sync(links: readonly string[] | null, options: { dryRun: boolean; full: boolean }) {
    this.asked.push(`${links?.join("+") ?? "all"} dryRun=${options.dryRun} full=${options.full}`);
    await this.gate;
    return this.report;
  }
}

class FakeNode extends FakeRunner implements SyncNode {
  readonly ready = Promise.resolve();
  done: Promise<void> = new Promise(() => {});
  stops = 0;
  status = () => nodeStatus();
  stop() {
    this.stops++;
    return Promise.resolve();
  }
}

function topologyText(admin: string): string {
  return `cascade: 1
name: payroll
secret: ./secret
volumes: { data: { size: 1MiB } }
nodes:
  hq:
    { role: primary, dir: ./hq, listen: "unix:./hq.sock", volumes: { data: ./hq.img }${admin} }
  dr1: { role: intermediate, dir: ./dr1, listen: "unix:./dr1.sock", volumes: { data: ./dr1.img } }
  dr2: { role: secondary, dir: ./dr2, volumes: { data: ./dr2.img } }
links:
  - { from: hq, to: dr1, mode: async }
  - { from: dr1, to: dr2, mode: async }
`;
}

function optionsIn(folder: string, change: Partial<SyncRunOptions> = {}): SyncRunOptions {
  return {
    topology: `${folder}/topology.yaml`,
    node: "hq",
    links: null,
    dryRun: false,
    full: false,
    skipIfRunning: false,
    timeoutMs: null,
    json: false,
    quiet: false,
    ...change,
  };
}

/** A folder with a topology whose node hq has its admin side at `FOLDER/admin`, or none. */
function inCascade(
  work: (folder: string) => Promise<void>,
  hasAdmin = true,
): Promise<void> {
  return inFolder(async (folder) => {
    const admin = hasAdmin ? `, admin: "unix:./admin"` : "";
    Deno.writeTextFileSync(`${folder}/topology.yaml`, topologyText(admin));
    Deno.writeTextFileSync(`${folder}/secret`, "0123456789abcdef", { mode: 0o600 });
    await work(folder);
  });
}

async function besideNode(
  runner: SyncRunner,
  work: (folder: string) => Promise<void>,
): Promise<void> {
  await inCascade(async (folder) => {
    const admin = await startAdmin({
      address: `unix:${folder}/admin`,
      token: () => null,
      status: () => nodeStatus(),
      sync: new SyncGate("hq", runner),
    });
    try {
      await work(folder);
    } finally {
      admin.close();
    }
  });
}

async function codeOf(work: Promise<unknown>): Promise<ErrorCode> {
  return (await assertRejects(() => work, CascadeError)).code;
}

/** Nobody should come here: a node answers. */
const NOT_HERE = () => Promise.reject(new Error("not here"));

/** Settles when the runner was asked. */
async function askedOnce(runner: FakeRunner): Promise<void> {
  const deadlineMs = performance.now() + 10_000;
  while (runner.asked.length === 0) {
    assert(performance.now() < deadlineMs, "nobody asked");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

Deno.test("a sync is told in one line, troubles apart", () => {
  assertEquals(
    summaryLine({ links: [FAILED, linkReport(), NOTHING] }),
    "synced: hq-dr1 12MiB of 80MiB written in 3s; nothing to sync: hq-dr3; failed: hq-dr2",
  );
  assertEquals(
    summaryLine({ links: [linkReport({ outcome: "planned" })] }),
    "to sync: hq-dr1 12MiB of 80MiB written",
  );
  assertEquals(summaryLine({ links: [] }), "nothing to sync");
  assertEquals(failureLines({ links: [linkReport(), FAILED] }), [
    "hq-dr2 was not synced: the peer has no room",
  ]);
  const evil = { ...FAILED, reason: "x\n\x1b[2J" };
  assertEquals(failureLines({ links: [evil] }), ["hq-dr2 was not synced: x\\u000a\\u001b[2J"]);
});

Deno.test("the exit code tells done, failed, and peers that were never reached", () => {
  const cases: [SyncLinkReport[], number][] = [
    [[linkReport(), NOTHING], 0],
    [[], 0],
    [[linkReport(), FAILED], 1],
    [[AWAY, FAILED], 1],
    [[linkReport(), AWAY], 4],
  ];
  for (const [links, code] of cases) assertEquals(verdictOf({ links }), code);
});

Deno.test("the running node is asked for what the command line says", async () => {
  const runner = new FakeRunner();
  await besideNode(runner, async (folder) => {
    const run = (...args: string[]) =>
      syncCommand().exitOverride().parseAsync(
        ["-t", `${folder}/topology.yaml`, "--node", "hq", "--quiet", ...args],
        { from: "user" },
      );
    await run();
    await run("--link", "hq-dr1", "--dry-run");
    await run("--link", "hq-dr1", "--link", "hq-dr1", "--full", "--timeout", "1m");
  });
  assertEquals(runner.asked, [
    "all dryRun=false full=false",
    "hq-dr1 dryRun=true full=false",
    "hq-dr1 dryRun=false full=true",
  ]);
});

Deno.test("the result is a line, a document, or nothing", () => {
  const runner = new FakeRunner();
  runner.report = { links: [linkReport(), FAILED] };
  return besideNode(runner, async (folder) => {
    const line = await performSync(optionsIn(folder), NOT_HERE);
    assertEquals(line, {
      code: 1,
      result: summaryLine(runner.report),
      troubles: ["cascade: hq-dr2 was not synced: the peer has no room"],
    });
    const quiet = await performSync(optionsIn(folder, { quiet: true }), NOT_HERE);
    assertEquals(quiet, { ...line, result: null });
    const json = await performSync(optionsIn(folder, { json: true, quiet: true }), NOT_HERE);
    assertEquals(JSON.parse(json.result ?? ""), {
      node: "hq",
      dryRun: false,
      beside: true,
      skipped: null,
      links: runner.report.links,
    });
  });
});

Deno.test("the second of two runs is refused, or skips and says so", () => {
  const runner = new FakeRunner();
  let goOn: () => void = () => {};
  runner.gate = new Promise<void>((resolve) => goOn = resolve);
  return besideNode(runner, async (folder) => {
    const first = performSync(optionsIn(folder), NOT_HERE);
    await askedOnce(runner);
    assertEquals(await codeOf(performSync(optionsIn(folder), NOT_HERE)), "locked");
    const skipped = await performSync(optionsIn(folder, { skipIfRunning: true }), NOT_HERE);
    assertEquals(skipped.code, 0);
    assertEquals(skipped.result, "skipped: a sync of hq runs already");
    goOn();
    assertEquals((await first).code, 0);
    assertEquals((await performSync(optionsIn(folder), NOT_HERE)).code, 0);
    assertEquals(runner.asked.length, 2);
  });
});

Deno.test("a node that takes too long, or cannot sync, is told of", async () => {
  const runner = new FakeRunner();
  runner.gate = new Promise(() => {});
  await besideNode(runner, async (folder) => {
    assertEquals(
      await codeOf(performSync(optionsIn(folder, { timeoutMs: 50 }), NOT_HERE)),
      "timed-out",
    );
  });
  await inCascade(async (folder) => {
    const address = `unix:${folder}/admin`;
    const older = await startAdmin({ address, token: () => null, status: () => nodeStatus() });
    assertEquals(await codeOf(performSync(optionsIn(folder), NOT_HERE)), "refused");
    older.close();
  });
});

Deno.test("links that the node does not feed are refused before anything is asked", () =>
  inCascade(async (folder) => {
    const run = (change: Partial<SyncRunOptions>) =>
      assertRejects(() => performSync(optionsIn(folder, change), NOT_HERE), CascadeError);
    const misspelt = await run({ links: ["hq-dr3"] });
    assertEquals([misspelt.code, misspelt.hint], ["usage", 'Did you mean "hq-dr1"?']);
    const below = await run({ links: ["dr1-dr2"] });
    assertEquals(below.message, "hq does not feed the link dr1-dr2");
    const secondary = await run({ node: "dr2" });
    assertEquals(secondary.message.split(",")[0], "dr2 feeds no link");
    assertEquals(secondary.hint, "It is fed by dr1: --node dr1 --link dr1-dr2.");
    assertEquals((await run({ node: "hp" })).hint, 'Did you mean "hq"?');
  }));

Deno.test("without a running node this process is the node, and shows its status meanwhile", () =>
  inCascade(async (folder) => {
    const node = new FakeNode();
    let goOn: () => void = () => {};
    node.gate = new Promise<void>((resolve) => goOn = resolve);
    const run = performSync(
      optionsIn(folder, { links: ["hq-dr1"] }),
      (options) => syncAsNode(options, () => Promise.resolve(node)),
    );
    await askedOnce(node);
    const target = { address: `unix:${folder}/admin`, token: null, timeoutMs: 5000 };
    const { name, pid } = await fetchStatus(target);
    assertEquals([name, pid], ["hq", Deno.pid]);
    // Another one finds it at its address, and by its lock.
    const other = optionsIn(folder, { skipIfRunning: true, json: true });
    const skipped = await performSync(other, NOT_HERE);
    assert(JSON.parse(skipped.result ?? "").skipped.includes("runs already"));
    assertEquals(await codeOf(syncAsNode(other, NOT_HERE)), "locked");
    assertEquals(node.stops, 0);
    goOn();
    assertEquals((await run).code, 0);
    assertEquals([node.stops, node.asked], [1, ["hq-dr1 dryRun=false full=false"]]);
    const free = lockFile(`${folder}/hq/sync.lock`, false);
    free.release();
  }));

Deno.test("a sync as the node ends with the timeout, and with the node", () =>
  inCascade(async (folder) => {
    const late = new FakeNode();
    late.gate = new Promise(() => {});
    const start = (node: SyncNode) => () => Promise.resolve(node);
    const code = await codeOf(syncAsNode(optionsIn(folder, { timeoutMs: 20 }), start(late)));
    assertEquals([code, late.stops], ["timed-out", 1]);
    const broken = new FakeNode();
    broken.gate = new Promise(() => {});
    broken.done = Promise.reject(new CascadeError("disk-failed", "the disk is gone"));
    assertEquals(await codeOf(syncAsNode(optionsIn(folder), start(broken))), "disk-failed");
    assertEquals(broken.stops, 1);
  }, false));

Deno.test("a timeout tells which peers were not there, and a folder what is in its way", () =>
  inCascade(async (folder) => {
    const late = new FakeNode();
    late.gate = new Promise(() => {});
    const away = linkStatus({
      name: "hq-dr1",
      to: "dr1",
      state: "connecting",
      connectedSince: null,
    });
    late.status = () => nodeStatus({ links: [away] });
    const options = optionsIn(folder, { timeoutMs: 20 });
    const run = () => syncAsNode(options, () => Promise.resolve(late));
    const { message } = await assertRejects(run, CascadeError);
    assert(message.endsWith("within 20ms: dr1 is not connected (connecting)"), message);
    Deno.removeSync(`${folder}/hq`, { recursive: true });
    Deno.writeTextFileSync(`${folder}/hq`, "");
    const blocked = await assertRejects(run, CascadeError);
    assertEquals(blocked.code, "disk-failed");
    assertEquals(blocked.hint, "A file of that name is in the way.");
  }, false));

Deno.test("a node that serves and cannot be asked is never taken for a sync that runs", () =>
  inCascade(async (folder) => {
    const refuse = (path: string) => () =>
      Promise.reject(
        new CascadeError("locked", "another process has locked it", { where: { path } }),
      );
    const run = (path: string) =>
      performSync(
        optionsIn(folder, { skipIfRunning: true }),
        (options) => syncAsNode(options, refuse(path)),
      );
    const serving = await assertRejects(() => run(`${folder}/hq/lock`), CascadeError);
    assertEquals(serving.code, "unreachable");
    assert(serving.message.includes("no admin address"), serving.message);
    assertEquals(await codeOf(run(`${folder}/hq.img`)), "refused");
    const gone = optionsIn(folder);
    const failing = () => Promise.reject(new CascadeError("log-corrupt", "a hole"));
    assert(isCascadeError(await syncAsNode(gone, failing).catch((error) => error), "log-corrupt"));
  }, false));

Deno.test("a second sync asks at once, and every mistake is told as by the first", async () => {
  const runner = new FakeRunner();
  await besideNode(runner, async (folder) => {
    const memory = { folder: `${folder}/cache`, program: "0.1.0 (1a2b3c4)" };
    const sync = (change: Partial<SyncRunOptions> = {}) =>
      performSync(optionsIn(folder, change), NOT_HERE, memory);
    const first = await sync({ links: ["hq-dr1"] });
    // The address is moved in the memory alone: who asks there did not read the topology.
    const [{ name }] = [...Deno.readDirSync(memory.folder)] as [Deno.DirEntry];
    const path = `${memory.folder}/${name}`;
    const text = Deno.readTextFileSync(path);
    const moved = text.replace(`unix:${folder}/admin`, `unix:${folder}/moved`);
    Deno.writeTextFileSync(path, moved);
    Deno.renameSync(`${folder}/admin`, `${folder}/moved`);
    assertEquals(await sync({ links: ["hq-dr1"] }), first);
    assertEquals(runner.asked, Array(2).fill("hq-dr1 dryRun=false full=false"));

    assertEquals(await codeOf(sync({ links: ["dr1-dr2"] })), "usage");
    assertEquals(await codeOf(sync({ node: "nobody" })), "usage");
    assertEquals(await codeOf(sync({ node: "dr2" })), "usage");
    // Nobody answers at the remembered address any more: the topology is read again.
    Deno.renameSync(`${folder}/moved`, `${folder}/admin`);
    Deno.writeTextFileSync(path, moved);
    assertEquals(await sync({ links: ["hq-dr1"] }), first);
    assertEquals(Deno.readTextFileSync(path), text);
    Deno.writeTextFileSync(`${folder}/topology.yaml`, "cascade: 2");
    assertEquals(await codeOf(sync()), "topology");
  });
  assertEquals(runner.asked.length, 3);
});
