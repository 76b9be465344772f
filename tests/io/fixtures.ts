/**
 * Statuses made up for tests: four nodes in a row and a fork, all well unless changed.
 *
 * @module
 */
import type { LinkStatus, NodeStatus } from "../../core/status.ts";

/** A node at LSN 1 MiB that is well. */
export function nodeStatus(change: Partial<NodeStatus> = {}): NodeStatus {
  const at = 1024 * 1024;
  return {
    cluster: "payroll",
    name: "hq",
    role: "primary",
    state: "running",
    reason: null,
    epoch: { number: 3, id: "0123456789abcdef0123456789abcdef", firstLsn: 0, node: "hq" },
    consistent: true,
    inconsistentUntil: null,
    lsn: { appended: at, durable: at, stable: at, applied: at, checkpointed: at / 2 },
    lagBytes: 0,
    lagSeconds: 0,
    log: { start: 0, bytes: 64 * at, budget: 256 * at, segments: 4 },
    volumes: [{ name: "data", size: 1024 * at, path: "/srv/data.img" }],
    scan: null,
    apply: null,
    tree: null,
    history: [],
    certificates: [],
    exports: [{ address: "unix:/run/hq.sock", clients: 1 }],
    kept: [],
    links: [],
    counters: {
      writes: 10,
      writeBytes: 40960,
      reads: 5,
      readBytes: 20480,
      flushes: 2,
      fuaWrites: 1,
      logFlushes: 3,
    },
    pid: 4711,
    version: "0.1.0",
    build: null,
    startedAt: 1_700_000_000_000,
    nowMs: 1_700_000_060_000,
    ...change,
  };
}

/** A periodic link that has overflowed, and is being brought back by a delta. */
export function busyLinkStatus(change: Partial<LinkStatus> = {}): LinkStatus {
  const at = 1024 * 1024;
  const nowMs = nodeStatus().nowMs;
  return linkStatus({
    name: "metro-dr2",
    from: "metro",
    to: "dr2",
    mode: "periodic",
    state: "delta",
    delta: {
      id: "0123456789abcdef",
      fromLsn: at,
      toLsn: 3 * at,
      bytesTotal: 1000 * at,
      bytesSent: 500 * at,
      bytesStaged: 429 * at,
      phase: "shipping",
      startedAtMs: nowMs - 30_000,
    },
    schedule: {
      nextRunAtMs: nowMs + 900_000,
      lastRun: {
        startedAtMs: nowMs - 63_000,
        endedAtMs: nowMs - 60_000,
        fromLsn: 0,
        toLsn: at,
        logBytes: 80 * at,
        deltaBytes: 12 * at,
        outcome: "done",
        reason: null,
      },
      failures: 0,
    },
    mapBytes: 7 * at,
    line: {
      ...{ limit: 20 * at, limitedBy: "topology", compress: "zstd", level: 1, shrinks: true },
      ...{ rawBytes: 400 * at, wireBytes: 100 * at, throttledMs: 7000, roundTripMs: 98.7 },
      ...{ latencyMs: 120, windowBytes: 8 * at, inFlightBytes: 3 * at },
    },
    ...change,
  });
}

/** A link that streams, caught up at LSN 1 MiB. */
export function linkStatus(change: Partial<LinkStatus> = {}): LinkStatus {
  const at = 1024 * 1024;
  return {
    name: "hq-metro",
    from: "hq",
    to: "metro",
    mode: "sync",
    state: "streaming",
    reason: null,
    received: at,
    durable: at,
    applied: at,
    epochId: null,
    lagBytes: 0,
    lagSeconds: 0,
    sentBytes: at,
    connectedSince: 1_700_000_000_000,
    transport: "tcp",
    fallback: null,
    delta: null,
    schedule: null,
    mapBytes: null,
    verify: null,
    line: null,
    ...change,
  };
}
