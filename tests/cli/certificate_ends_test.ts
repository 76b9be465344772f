import { assertEquals, assertStringIncludes } from "@std/assert";
import { CertificateEnds, endState, endText } from "../../cli/certificate_ends.ts";
import { ailments, reportOf, verdictOf } from "../../cli/report.ts";
import { parseTopology } from "../../core/topology/parse.ts";
import type { CertificateStatus } from "../../core/status.ts";
import { metricsText } from "../../io/metrics.ts";
import { nodeStatus } from "../io/fixtures.ts";

const DAY_MS = 86_400_000;
const NOW_MS = nodeStatus().nowMs;

function ending(inMs: number, fingerprint = "AA"): CertificateStatus {
  const notBeforeMs = NOW_MS - 365 * DAY_MS;
  return { kind: "node", subject: "hq", notBeforeMs, notAfterMs: NOW_MS + inMs, fingerprint };
}

Deno.test("a certificate is spoken of from thirty days ahead, and looked after from seven", () => {
  const cases: [inMs: number, state: string, words: string | null][] = [
    [31 * DAY_MS, "good", null],
    [30 * DAY_MS, "soon", "in 30 days"],
    [7 * DAY_MS + 1, "soon", "in 7 days"],
    [DAY_MS, "late", "in 1 day"],
    [1, "late", "today"],
    [0, "ended", "no peer takes it"],
  ];
  for (const [inMs, state, words] of cases) {
    assertEquals(endState(ending(inMs), NOW_MS), state);
    const text = endText(ending(inMs), NOW_MS);
    if (words === null) assertEquals(text, null);
    else assertStringIncludes(text ?? "", words);
  }
  assertEquals(endState(ending(DAY_MS), NOW_MS - 366 * DAY_MS), "early");
});

Deno.test("the journal tells of each certificate once a day", () => {
  const lines: string[] = [];
  const ends = new CertificateEnds({
    write: (level, message) => lines.push(`${level} ${message}`),
  });
  const look = (hours: number, ...all: CertificateStatus[]) =>
    ends.look(all, NOW_MS + hours * 3_600_000);
  look(0, ending(40 * DAY_MS));
  assertEquals(lines, []);
  for (let hour = 0; hour < 24; hour++) look(hour, ending(2 * DAY_MS));
  assertEquals(lines.splice(0), ["warn a certificate ends soon"]);
  look(24, ending(2 * DAY_MS), ending(DAY_MS / 2, "BB"));
  assertEquals(lines.splice(0), ["warn a certificate ends soon", "error a certificate has ended"]);
});

Deno.test("status tells of an end, fails a week before, and metrics have both figures", () => {
  const text = `
cascade: 1
name: payroll
secret: ./s
volumes: { data: { size: 8MiB } }
nodes:
  hq: { role: primary, dir: ./hq, volumes: { data: ./hq.img }, admin: "unix:./a" }
`;
  const { topology } = parseTopology(text, "topology.yaml", "/srv");
  const node = topology!.nodes[0]!;
  const report = (inMs: number) => {
    const status = nodeStatus({ certificates: [ending(inMs)] });
    return reportOf(topology!, [{ node, status, error: null }]);
  };
  assertEquals([verdictOf(report(20 * DAY_MS)), verdictOf(report(3 * DAY_MS))], [0, 1]);
  assertEquals(ailments(report(3 * DAY_MS)).length, 1);
  assertStringIncludes(ailments(report(-DAY_MS))[0]!, "hq: its certificate ended on");
  const metrics = metricsText(nodeStatus({ certificates: [ending(60_000)] }), { residentBytes: 1 });
  const remaining = 'cascade_certificate_remaining_seconds{node="hq",certificate="node"} 60\n';
  assertStringIncludes(metrics, remaining);
  assertStringIncludes(metrics, `certificate="node"} ${NOW_MS / 1000 + 60}\n`);
});
