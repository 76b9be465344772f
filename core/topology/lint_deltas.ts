/**
 * What a topology asks for of deltas: when they are sent, where they come from, the room that they
 * are given.
 *
 * @module
 */
import type { Schedule } from "../config.ts";
import { comesWithin, formatWindow, windowMs } from "./cron.ts";
import type { DocumentPath } from "./problem.ts";
import { quote } from "./problem.ts";
import type { Reporter } from "./reporter.ts";
import type { Topology, TopologyLink, TopologyNode } from "./topology.ts";
import { formatDuration, formatSize } from "./units.ts";

const EVERY_MS_MIN = 1000; // below that, mode: async costs less
const VERIFY_MS_MIN = 60_000; // every volume is read as a whole, on both sides
const DAY_MS = 86_400_000;
const DELTA_BUDGET_BYTES_MIN = 4 * 1024 * 1024; // a few records of any size

/** Reports hooks without what they are for, a scan where clients write, a budget of nothing. */
export function lintDeltas(node: TopologyNode, reporter: Reporter): void {
  const path = (key: string): DocumentPath => ["nodes", node.name, key];
  lintCapture(node, path, reporter);
  if (node.beforeInconsistent !== null && !node.allowInconsistent) {
    reporter.report(path("beforeInconsistent"), "key", {
      severity: "warning",
      message: "beforeInconsistent never runs without allowInconsistent: true",
    });
  }
  const { deltaBudgetBytes, budgetBytes } = node.log;
  if (deltaBudgetBytes >= DELTA_BUDGET_BYTES_MIN || deltaBudgetBytes === budgetBytes) return;
  const expected = `at least ${formatSize(DELTA_BUDGET_BYTES_MIN)}`;
  reporter.report([...path("log"), "deltaBudget"], "value", {
    message: `the room for deltas ${
      formatSize(deltaBudgetBytes)
    } is too small; expected ${expected}`,
    found: formatSize(deltaBudgetBytes),
    expected,
  });
}

function lintCapture(
  node: TopologyNode,
  path: (key: string) => DocumentPath,
  reporter: Reporter,
): void {
  if (node.capture === "scan") {
    if (node.role !== "primary") {
      const message = `${quote(node.name)} is no primary: only there is something to capture`;
      reporter.report(path("capture"), "key", { message });
    }
    if (node.nbd.length > 0) {
      const message = "capture: scan is for volumes that something else writes; " +
        "expected no nbd, or capture: nbd";
      reporter.report(path("nbd"), "key", { message });
    }
    return;
  }
  for (const key of ["beforeScan", "afterScan"] as const) {
    if (node[key] === null) continue;
    reporter.report(path(key), "key", { message: `${key} never runs without capture: scan` });
  }
}

/** Reports links that want more of a node with `capture: scan` than it can do. */
export function lintScanLinks(topology: Topology, reporter: Reporter): void {
  for (const link of topology.links) {
    const from = topology.nodes.find(({ name }) => name === link.from);
    if (from?.capture !== "scan") continue;
    if (link.mode === "sync") {
      reporter.report(["links", link.index, "mode"], "value", {
        message: `${quote(from.name)} has capture: scan, so no write can wait for ` +
          `${quote(link.to)}; expected periodic, or async and \`cascade sync\``,
        found: "sync",
        expected: "periodic or async",
      });
    }
    if (link.onOverflow !== "map") {
      reporter.report(["links", link.index, "onOverflow"], "value", {
        message: `${quote(from.name)} has capture: scan, so it has no clients that could wait or ` +
          "be given errors; expected map",
        found: link.onOverflow,
        expected: "map",
      });
    }
    if (link.verify !== null) {
      const message =
        `${quote(from.name)} has capture: scan: what it has cannot be compared while ` +
        "something else writes it";
      reporter.report(["links", link.index, "verify"], "key", { message });
    }
  }
}

/** Reports times that cannot be, or that nobody can mean. */
export function lintSchedules(link: TopologyLink, reporter: Reporter): void {
  const tooOften = link.verify !== null && link.verify.everyMs !== null &&
    link.verify.everyMs < VERIFY_MS_MIN;
  if (tooOften) reportOften(link, "verify", link.verify.everyMs ?? 0, VERIFY_MS_MIN, "", reporter);
  if (link.schedule === null) return;
  const { everyMs, cron, jitterMs } = link.schedule;
  if ((everyMs === null) === (cron === null)) {
    reporter.report(["links", link.index, cron === null ? "mode" : "cron"], "value", {
      message: everyMs === null
        ? `the periodic link ${quote(link.name)} does not say when; expected such as ` +
          'every: 15m, or cron: "0 2 * * *"'
        : `the link ${quote(link.name)} has both "every" and "cron"; expected one of them`,
      expected: "every or cron",
    });
  } else if (everyMs !== null && everyMs < EVERY_MS_MIN) {
    reportOften(link, "every", everyMs, EVERY_MS_MIN, ", or mode: async", reporter);
  } else if (everyMs !== null && jitterMs > everyMs) {
    const expected = `${formatDuration(everyMs)} or less`;
    reporter.report(["links", link.index, "jitter"], "value", {
      message: `a jitter of ${formatDuration(jitterMs)} is longer than ` +
        `every ${formatDuration(everyMs)}; expected ${expected}`,
      found: formatDuration(jitterMs),
      expected,
    });
  } else lintWindow(link, link.schedule, reporter);
}

/** Warns of windows that do something else than the times beside them say. */
function lintWindow(
  link: TopologyLink,
  { everyMs, cron, window }: Schedule,
  reporter: Reporter,
): void {
  if (window === null) return;
  const [begin] = formatWindow(window).split("-");
  const warn = (message: string) =>
    reporter.report(["links", link.index, "window"], "value", { severity: "warning", message });
  const lastsMs = windowMs(window);
  if (everyMs !== null && everyMs < DAY_MS && lastsMs < everyMs) {
    warn(
      `a window of ${formatDuration(lastsMs)} is shorter than every ${formatDuration(everyMs)}: ` +
        `there will be one run a day, from ${begin} on`,
    );
  }
  if (cron !== null && !comesWithin(cron, window)) {
    warn(`cron ${quote(cron)} never comes within this window: each run waits until ${begin}`);
  }
}

function reportOften(
  link: TopologyLink,
  key: "every" | "verify",
  foundMs: number,
  leastMs: number,
  instead: string,
  reporter: Reporter,
): void {
  const expected = `${formatDuration(leastMs)} or more`;
  reporter.report(["links", link.index, key], "value", {
    message: `${key} ${formatDuration(foundMs)} is too often; expected ${expected}${instead}`,
    found: formatDuration(foundMs),
    expected,
  });
}
