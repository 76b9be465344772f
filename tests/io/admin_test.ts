import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { CascadeError } from "../../core/errors.ts";
import {
  deltaStatusSchema,
  type LineStatus,
  lineStatusSchema,
  LINK_STATES,
  linkRunSchema,
  linkScheduleSchema,
  linkStatusSchema,
  type NodeStatus,
  nodeStatusSchema,
  parentChoiceSchema,
  type TreeStatus,
  treeStatusSchema,
} from "../../core/status.ts";
import type { SyncRunner } from "../../core/sync_report.ts";
import { startAdmin } from "../../io/admin.ts";
import type { OrderProgress } from "../../core/tree/order_progress.ts";
import type { AdminControl } from "../../io/admin_control.ts";
import {
  changeLink,
  fetchPage,
  fetchProgress,
  fetchStatus,
  limitLink,
  orderTree,
  syncNode,
} from "../../io/admin_client.ts";
import { metricsText } from "../../io/metrics.ts";
import { busyLinkStatus, linkStatus, nodeStatus } from "./fixtures.ts";
import { assertRejectsCode } from "../support/small.ts";
import { withFolder } from "./helpers.ts";

const TOKEN = "open-sesame";

interface Setting {
  readonly address?: string;
  readonly token?: string | null;
  readonly status?: () => NodeStatus;
  readonly control?: AdminControl;
  readonly sync?: SyncRunner;
}

async function withAdmin(
  { address = "http://127.0.0.1:0", token = null, status = () => nodeStatus(), ...controls }:
    Setting,
  body: (address: string) => Promise<void>,
): Promise<void> {
  const admin = await startAdmin({
    address,
    token: () => token,
    status,
    ...controls,
  });
  try {
    await body(admin.address);
  } finally {
    admin.close();
  }
}

function ask(address: string, path: string, token: string | null = null) {
  return fetchPage({ address, token, timeoutMs: 5000 }, path);
}

/** Sends raw bytes over TCP and gives all that comes back. */
async function talk(address: string, text: string): Promise<string> {
  const { hostname, port } = new URL(address);
  const socket = await Deno.connect({ hostname, port: Number(port) });
  await socket.write(new TextEncoder().encode(text));
  try {
    return await new Response(socket.readable).text();
  } catch {
    return ""; // Cut off without a word.
  }
}

for (const token of [null, TOKEN]) {
  Deno.test(`the status arrives as it was given (token: ${token !== null})`, () =>
    withFolder(async (folder) => {
      for (const address of ["http://127.0.0.1:0", "http://[::1]:0", `unix:${folder}/admin`]) {
        await withAdmin({ address, token }, async (address) => {
          assertEquals(await fetchStatus({ address, token, timeoutMs: 5000 }), nodeStatus());
        });
      }
      assertEquals([...Deno.readDirSync(folder)], []);
    }));
}

Deno.test("the socket of an admin side is for owner and group", () =>
  withFolder((folder) =>
    withAdmin({ address: `unix:${folder}/admin` }, () => {
      assertEquals(Deno.lstatSync(`${folder}/admin`).mode! & 0o777, 0o660);
      return Promise.resolve();
    })
  ));

Deno.test("off loopback it starts only with a token", async () => {
  const start = () =>
    startAdmin({ address: "http://0.0.0.0:0", token: () => null, status: nodeStatus });
  assertEquals((await assertRejects(start, CascadeError)).code, "bad-address");
  await withAdmin({ address: "http://0.0.0.0:0", token: TOKEN }, async (address) => {
    const { code } = await ask(address.replace("0.0.0.0", "127.0.0.1"), "/status");
    assertEquals(code, 401);
  });
});

Deno.test("a wrong token opens nothing, not even health", () =>
  withAdmin({ token: TOKEN }, async (address) => {
    for (const path of ["/status", "/metrics", "/healthz", "/nothing"]) {
      for (const token of [null, "open-sesamE", "open-sesame-", "x".repeat(5000)]) {
        assertEquals((await ask(address, path, token)).code, 401);
      }
      assert((await ask(address, path, TOKEN)).code !== 401);
    }
    const wrong = () => fetchStatus({ address, token: "wrong", timeoutMs: 5000 });
    assertEquals((await assertRejects(wrong, CascadeError)).code, "refused");
  }));

Deno.test("a request for another host is turned away: a page in a browser cannot reach it", () =>
  withAdmin({}, async (address) => {
    const request = (host: string) => `GET /status HTTP/1.1\r\n${host}Connection: close\r\n\r\n`;
    for (
      const host of ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", ""]
    ) {
      const answer = await talk(address, request(`Host: ${host}\r\n`));
      assert(answer.startsWith("HTTP/1.1 421"), answer.slice(0, 100));
    }
    for (const host of ["localhost", "LOCALHOST:7421", "127.0.0.1:7421", "[::1]:7421"]) {
      const answer = await talk(address, request(`Host: ${host}\r\n`));
      assert(answer.startsWith("HTTP/1.1 200"), answer.slice(0, 100));
    }
  }));

Deno.test("only GET and HEAD, and only what is there", () =>
  withAdmin({}, async (address) => {
    assertEquals((await ask(address, "/")).code, 404);
    const odd = "GET /status/../status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assertMatch(await talk(address, odd), /^HTTP\/1.1 404/);
    assertEquals((await ask(address, "/status?pretty")).code, 200);
    const head = await talk(
      address,
      "HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    assert(head.startsWith("HTTP/1.1 200") && head.endsWith("\r\n\r\n"), head);
    const post = await talk(
      address,
      "POST /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
    );
    assert(post.startsWith("HTTP/1.1 405"), post);
    assertEquals(post.split("HTTP/1.1").length, 2);
  }));

Deno.test("the target may be a whole URL, whose host counts", () =>
  withAdmin({}, async (address) => {
    const get = (target: string, host: string) =>
      talk(address, `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    assertMatch(await get("http://localhost/healthz", "elsewhere"), /^HTTP\/1.1 200/);
    assertMatch(await get("http://elsewhere/healthz", "localhost"), /^HTTP\/1.1 421/);
    assertMatch(await get("http://localhost", "localhost"), /^HTTP\/1.1 404/);
  }));

Deno.test("health is 200 when the node runs on an image that existed, else 503 and why", async () => {
  let status = nodeStatus();
  await withAdmin({ status: () => status }, async (address) => {
    assertEquals(await ask(address, "/healthz"), { code: 200, body: "ok\n" });
    status = nodeStatus({ consistent: false });
    assertEquals(await ask(address, "/healthz"), { code: 503, body: "inconsistent\n" });
    status = nodeStatus({ state: "failed", reason: "the disk broke" });
    assertEquals(await ask(address, "/healthz"), { code: 503, body: "failed: the disk broke\n" });
    status = nodeStatus({ reason: "no room for the log" });
    assertEquals(await ask(address, "/healthz"), { code: 503, body: "no room for the log\n" });
    status = nodeStatus({ state: "starting" });
    assertEquals(await ask(address, "/healthz"), { code: 503, body: "starting\n" });
  });
});

Deno.test("a status that cannot be made is an error of this answer, not of the server", async () => {
  let broken = true;
  const status = () => {
    if (broken) throw new Error("cannot tell");
    return nodeStatus();
  };
  await withAdmin({ status }, async (address) => {
    assertEquals(await ask(address, "/status"), { code: 500, body: "cannot tell\n" });
    broken = false;
    assertEquals((await ask(address, "/status")).code, 200);
  });
});

Deno.test("headers without end are cut off", () =>
  withAdmin({}, async (address) => {
    const answer = await talk(
      address,
      `GET /status HTTP/1.1\r\nHost: localhost\r\nX: ${"x".repeat(1_000_000)}`,
    );
    assert(!answer.startsWith("HTTP/1.1 200"), answer.slice(0, 100));
    assertEquals((await ask(address, "/healthz")).code, 200);
  }));

Deno.test("connections beyond the limit are turned away, and those there are served", () =>
  withAdmin({}, async (address) => {
    const port = Number(new URL(address).port);
    const sockets = await Promise.all(Array.from({ length: 60 }, () => Deno.connect({ port })));
    const answers = await Promise.all(sockets.map(async (socket) => {
      try {
        await socket.write(
          new TextEncoder().encode("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        );
        return await socket.read(new Uint8Array(1024));
      } catch {
        return null;
      }
    }));
    for (const socket of sockets) socket.close();
    assertEquals(answers.filter((count) => count !== null).length, 32);
  }));

Deno.test("connections that ask for nothing keep nobody out", () =>
  withAdmin({}, async (address) => {
    const port = Number(new URL(address).port);
    const silent = () => Promise.all(Array.from({ length: 60 }, () => Deno.connect({ port })));
    const sockets = await silent();
    for (let turn = 0; turn < 5; turn++) {
      assertEquals((await ask(address, "/healthz")).code, 200);
      sockets.push(...await silent());
    }
    for (const socket of sockets) socket.close();
  }));

Deno.test("nobody there, somebody else there, and no answer in time each have their error", async () => {
  const code = async (address: string) => {
    const asking = () => fetchStatus({ address, token: null, timeoutMs: 200 });
    return (await assertRejects(asking, CascadeError)).code;
  };
  assertEquals(await code("unix:/nonexistent/admin"), "unreachable");
  assertEquals(await code("gopher://host:1"), "bad-address");
  await withAdmin(
    { status: () => ({ ...nodeStatus(), state: "odd" }) as never },
    async (address) => {
      assertEquals(await code(address), "protocol");
    },
  );
  const silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  assertEquals(await code(`http://127.0.0.1:${silent.addr.port}`), "unreachable");
  silent.close();
});

Deno.test("metrics name every figure with its unit, type and help", async () => {
  const status = nodeStatus({
    name: 'h"q\\\n',
    links: [
      linkStatus(),
      linkStatus({ name: "metro-dr1", lagBytes: null, state: "degraded" }),
      busyLinkStatus({ lagBytes: null }),
    ],
  });
  await withAdmin({ status: () => status }, async (address) => {
    const { body } = await ask(address, "/metrics");
    const lines = body.split("\n");
    assertEquals(lines.pop(), "");
    const typed = new Map<string, string>();
    for (const line of lines) {
      const type = /^# TYPE (\S+) (gauge|counter)$/.exec(line);
      if (type !== null) typed.set(type[1]!, type[2]!);
      if (line.startsWith("#")) continue;
      const sample = /^([a-z_]+)\{(?:[a-z_]+="(?:[^"\\]|\\["\\n])*",?)+\} -?[\d.e+]+$/.exec(line);
      const name = sample?.[1] ?? `no sample: ${line}`;
      assertEquals(typed.get(name), name.endsWith("_total") ? "counter" : "gauge", line);
    }
    assertEquals(lines.filter((line) => line.startsWith("# HELP")).length, typed.size);
    const busy = 'link="metro-dr2",from="metro",to="dr2",mode="periodic"';
    const node = String.raw`node="h\"q\\\n"`;
    for (
      const line of [
        `cascade_lsn_bytes{${node},position="checkpointed"} 524288`,
        `cascade_write_bytes_total{${node}} 40960`,
        `cascade_node_state{${node},state="running"} 1`,
        `cascade_node_state{${node},state="failed"} 0`,
        `cascade_link_lag_bytes{${node},link="hq-metro",from="hq",to="metro",mode="sync"} 0`,
        `cascade_link_state{${node},link="metro-dr1",from="hq",to="metro",mode="sync",state="degraded"} 1`,
        `cascade_link_delta_bytes{${node},${busy},part="staged"} ${429 * 1024 * 1024}`,
        `cascade_link_last_run_duration_seconds{${node},${busy}} 3`,
        `cascade_link_last_run_success{${node},${busy}} 1`,
        `cascade_link_next_run_time_seconds{${node},${busy}} 1700000960`,
        `cascade_link_map_bytes{${node},${busy}} ${7 * 1024 * 1024}`,
      ]
    ) assert(lines.includes(line), line);
    // Unknown is not zero.
    assertEquals(body.match(/^cascade_link_lag_bytes\{/gm)?.length, 1);
    assert(/^process_resident_memory_bytes\{.*\} [1-9]\d*$/m.test(body));
  });
});

Deno.test("docs/status.md names every metric, field and state", async () => {
  const docs = await Deno.readTextFile(new URL("../../docs/status.md", import.meta.url));
  const status = nodeStatus({
    links: [busyLinkStatus()],
    inconsistentUntil: { lsn: 1, reason: "no room" },
    tree: TREE,
  });
  const metrics = metricsText(status, { residentBytes: 1 }).matchAll(/^# TYPE (\S+)/gm);
  const words = [
    ...[...metrics].map((match) => match[1]!),
    ...Object.keys(nodeStatusSchema.shape),
    ...Object.keys(linkStatusSchema.shape),
    ...Object.keys(lineStatusSchema.shape),
    ...Object.keys(deltaStatusSchema.shape),
    ...deltaStatusSchema.shape.phase.options,
    ...Object.keys(linkScheduleSchema.shape),
    ...Object.keys(linkRunSchema.shape),
    ...linkRunSchema.shape.outcome.options,
    ...nodeStatusSchema.shape.state.options,
    ...LINK_STATES,
    ...Object.keys(treeStatusSchema.shape),
    ...Object.keys(parentChoiceSchema.shape),
    ...Object.keys(nodeStatusSchema.shape.counters.shape),
    ...Object.keys(nodeStatusSchema.shape.lsn.shape),
    ...Object.keys(nodeStatusSchema.shape.log.shape),
  ];
  for (const word of words) assert(docs.includes(`\`${word}\``), word);
});

const TREE: TreeStatus = {
  ...{ primary: "hq", reign: 0, parents: { metro: "hq", dr: "hq" } },
  ...{ declared: { metro: "hq", dr: "metro" }, chosen: { dr: "metro" }, isDeclared: true },
  ...{ conflict: null, isWaiting: false, isRejoining: false },
  moves: { operator: 0, promotion: 0, itself: 3 },
  upstreamSilenceSeconds: 0.25,
  primarySilenceSeconds: null,
  choice: {
    ...{ parents: ["metro", "lab", "hq"], afterMs: 60_000, by: "itself", since: 1, reason: "away" },
    awaySince: null,
    candidates: [
      { name: "metro", reason: null, wellSince: 2 },
      { name: "lab", reason: "it is starting", wellSince: null },
    ],
  },
};

Deno.test("the tree is in the metrics: who feeds whom, by whose choice, and who is heard", () => {
  const status = nodeStatus({ name: "dr", role: "secondary", tree: TREE });
  const lines = metricsText(status, { residentBytes: 1 }).split("\n");
  for (
    const line of [
      'cascade_tree_role{node="dr",role="secondary"} 1',
      'cascade_tree_reign{node="dr"} 0',
      'cascade_tree_nodes{node="dr"} 3',
      'cascade_tree_parent_info{node="dr",of="dr",parent="hq",declared="metro"} 1',
      'cascade_tree_moves_total{node="dr",by="itself"} 3',
      'cascade_tree_away_from_home{node="dr"} 1',
      'cascade_tree_parent_fit{node="dr",parent="metro"} 1',
      'cascade_tree_parent_fit{node="dr",parent="lab"} 0',
      'cascade_upstream_silence_seconds{node="dr"} 0.25',
    ]
  ) assert(lines.includes(line), line);
  // Never heard is not heard just now.
  assert(!lines.some((line) => line.startsWith("cascade_primary_silence_seconds{")));
});

const LINE: LineStatus = {
  ...{ limit: 5_000_000, limitedBy: "operator", compress: "zstd", level: 1, shrinks: true },
  ...{ rawBytes: 400, wireBytes: 100, throttledMs: 7, roundTripMs: 0.5, latencyMs: 12 },
  ...{ windowBytes: 1 << 20, inFlightBytes: 4096 },
};

const PROGRESS: OrderProgress = {
  ...{ order: "migrate", step: "catching-up", from: "hq", bytesTotal: 100, bytesLeft: 40 },
  forMs: 5,
};

/** Notes what is asked of it. */
function noted(asked: string[]): AdminControl {
  const act = (text: string): Promise<void> => {
    if (text.includes("missing")) throw new CascadeError("not-found", 'hq has no link "missing"');
    asked.push(text);
    return Promise.resolve();
  };
  return {
    pause: (link, reason) => act(`pause ${link} ${reason}`),
    resume: (link) => act(`resume ${link}`),
    limit: (link, limit) => {
      if (link === "missing") throw new CascadeError("not-found", 'hq has no link "missing"');
      asked.push(`limit ${link} ${JSON.stringify(limit)}`);
      return Promise.resolve(LINE);
    },
    order: (target, order) => {
      if (target === "missing") throw new CascadeError("not-found", 'no node "missing"');
      asked.push(`${JSON.stringify(order)} of ${target}`);
      return Promise.resolve({ plan: null, reparent: null, isDone: true, lsn: 7, durationMs: 1 });
    },
    progress: (target) => {
      if (target === "missing") throw new CascadeError("not-found", 'no node "missing"');
      return Promise.resolve(target === "idle" ? null : PROGRESS);
    },
  };
}

Deno.test("how far an order is can be asked for", async () => {
  await withAdmin({ token: TOKEN, control: noted([]) }, async (address) => {
    const target = { address, token: TOKEN, timeoutMs: 5000 };
    assertEquals(await fetchProgress(target, "metro"), PROGRESS);
    assertEquals(await fetchProgress(target, "idle"), null);
    assertEquals(await fetchProgress(target, "missing"), null);
  });
});

Deno.test("orders of the tree reach the node that is meant", async () => {
  const asked: string[] = [];
  await withAdmin({ token: TOKEN, control: noted(asked) }, async (address) => {
    const target = { address, token: TOKEN, timeoutMs: 5000 };
    const promote = { order: "promote", dryRun: false, force: true, at: null } as const;
    assertEquals((await orderTree(target, "metro", promote)).lsn, 7);
    await orderTree(target, "metro", { ...promote, force: false, at: { mark: "a & b" } });
    await orderTree(target, "metro", { ...promote, dryRun: true, at: { timeMs: 8 } });
    await orderTree(target, "metro", { order: "migrate", dryRun: true, timeoutMs: 5 });
    await orderTree(target, "dr", { order: "reparent", dryRun: false, to: "hq" });
    await orderTree(target, "dr", { order: "write", dryRun: false });
    await assertRejectsCode(orderTree(target, "missing", promote), "refused");
  });
  assertEquals(asked, [
    '{"order":"promote","dryRun":false,"force":true,"at":null} of metro',
    '{"order":"promote","dryRun":false,"force":false,"at":{"mark":"a & b"}} of metro',
    '{"order":"promote","dryRun":true,"force":true,"at":{"timeMs":8}} of metro',
    '{"order":"migrate","dryRun":true,"timeoutMs":5} of metro',
    '{"order":"reparent","dryRun":false,"to":"hq"} of dr',
    '{"order":"write","dryRun":false} of dr',
  ]);
});

Deno.test("links are limited, and what holds is answered", async () => {
  const asked: string[] = [];
  await withAdmin({ token: TOKEN, control: noted(asked) }, async (address) => {
    const target = { address, token: TOKEN, timeoutMs: 5000 };
    assertEquals(await limitLink(target, "a-b", { rate: 5_000_001 }), LINE);
    await limitLink(target, "a-b", { rate: null });
    await limitLink(target, "a-b", null);
    await assertRejectsCode(limitLink(target, "missing", null), "refused");
  });
  assertEquals(asked, ['limit a-b {"rate":5000001}', 'limit a-b {"rate":null}', "limit a-b null"]);
});

Deno.test("links are paused and resumed, and a refusal says why", async () => {
  const asked: string[] = [];
  await withAdmin({ token: TOKEN, control: noted(asked) }, async (address) => {
    const target = { address, token: TOKEN, timeoutMs: 5000 };
    await changeLink(target, "hq-metro", { pause: { reason: "a line & more: ü" } });
    await changeLink(target, "hq-metro", { pause: { reason: null } });
    await changeLink(target, "a link/with ?", "resume");
    const missing = await assertRejects(
      () => changeLink(target, "missing", "resume"),
      CascadeError,
      'no link "missing"',
    );
    assertEquals(missing.code, "refused");
    const wrong = { ...target, token: "another" };
    assertEquals(
      (await assertRejects(() => changeLink(wrong, "x", "resume"), CascadeError)).code,
      "refused",
    );
  });
  assertEquals(asked, [
    "pause hq-metro a line & more: ü",
    "pause hq-metro null",
    "resume a link/with ?",
  ]);
});

Deno.test("a change that is meant for another node is not taken", async () => {
  const asked: string[] = [];
  await withAdmin({ control: noted(asked) }, async (address) => {
    const target = { address, token: null, timeoutMs: 5000, node: "somebody-else" };
    const error = await assertRejects(() => changeLink(target, "l", "resume"), CascadeError);
    assertEquals(error.code, "unreachable");
    await changeLink({ ...target, node: nodeStatus().name }, "l", "resume");
  });
  assertEquals(asked, ["resume l"]);
});

/** Answers to every sync the same, and notes what it was asked. */
function syncing(asked: string[], error: CascadeError | null = null): SyncRunner {
  return {
    sync(links, { dryRun, full }) {
      if (error !== null) return Promise.reject(error);
      asked.push(`${links?.join(" ") ?? "all"} ${dryRun} ${full}`);
      return Promise.resolve({ links: [] });
    },
  };
}

Deno.test("a sync is asked for, and a refusal says why", async () => {
  const asked: string[] = [];
  const options = { dryRun: false, full: true };
  await withAdmin({ token: TOKEN, sync: syncing(asked) }, async (address) => {
    const target = { address, token: TOKEN, timeoutMs: 5000 };
    assertEquals(await syncNode(target, ["a/b ?&=", "c"], options), { links: [] });
    assertEquals(await syncNode(target, null, { dryRun: true, full: false }), { links: [] });
  });
  assertEquals(asked, ["a/b ?&= c false true", "all true false"]);
  const cases = [["locked", "locked"], ["not-found", "refused"], [
    "disk-failed",
    "protocol",
  ]] as const;
  for (const [thrown, met] of cases) {
    const sync = syncing(asked, new CascadeError(thrown, "and this is why"));
    await withAdmin({ sync }, async (address) => {
      const target = { address, token: null, timeoutMs: 5000 };
      const error = await assertRejects(() => syncNode(target, null, options), CascadeError);
      assertEquals(error.code, met);
      assert(error.message.includes("and this is why"), error.message);
    });
  }
});

Deno.test("without a runner, and to a page of another site, there is nothing to sync", async () => {
  const asked: string[] = [];
  const talkTo = (address: string, more: string) =>
    talk(
      address,
      `POST /sync HTTP/1.1\r\nHost: ${new URL(address).host}\r\nConnection: close\r\n${more}\r\n`,
    );
  const header = "cascade-control: 1\r\n";
  await withAdmin({ control: noted(asked) }, async (address) => {
    assert((await talkTo(address, header)).startsWith("HTTP/1.1 405"));
  });
  await withAdmin({ sync: syncing(asked) }, async (address) => {
    assert((await talkTo(address, "")).startsWith("HTTP/1.1 403"));
    assert((await talkTo(address, `${header}cascade-node: x\r\n`)).startsWith("HTTP/1.1 421"));
    assertEquals(asked, []);
    assert((await talkTo(address, header)).startsWith("HTTP/1.1 200"));
  });
  assertEquals(asked, ["all false false"]);
});

Deno.test("no page of another site can change anything", async () => {
  const asked: string[] = [];
  await withAdmin({ control: noted(asked) }, async (address) => {
    const { host } = new URL(address);
    const request = (method: string, more = "") =>
      talk(
        address,
        `${method} /links/l/resume HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${more}\r\n`,
      );
    assert((await request("POST")).startsWith("HTTP/1.1 403"));
    assert((await request("GET", "cascade-control: 1\r\n")).startsWith("HTTP/1.1 405"));
    assert((await request("OPTIONS", "Origin: http://evil\r\n")).startsWith("HTTP/1.1 405"));
    assertEquals(asked, []);
    assert((await request("POST", "cascade-control: 1\r\n")).startsWith("HTTP/1.1 204"));
  });
  assertEquals(asked, ["resume l"]);
});
