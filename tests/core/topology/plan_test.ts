import { assert, assertEquals } from "@std/assert";
import { parseTopology, topologyOrThrow } from "../../../core/topology/parse.ts";
import { type Plan, planOf, planSchema } from "../../../core/topology/plan.ts";
import {
  drawDot,
  drawMermaid,
  drawText,
  type PlanPaint,
} from "../../../core/topology/plan_view.ts";

const same = (text: string) => text;
const PLAIN: PlanPaint = { bold: same, dim: same, green: same, cyan: same };

function planOfSample(name: string): Plan {
  const text = Deno.readTextFileSync(new URL(`../../../samples/${name}`, import.meta.url));
  return planOf(topologyOrThrow(parseTopology(text, name, "/srv")));
}

Deno.test("the tree shows roles, modes and exports, the primary on top", () => {
  assertEquals(
    drawText(planOfSample("four_hosts.yaml"), PLAIN, false),
    `payroll  data 10GiB

hq  primary, nbd unix:/run/cascade.sock tcp://127.0.0.1:10809
└── sync, degrade after 2s ──▶ metro  intermediate
    ├── async ──▶ dr1  secondary
    └── async ──▶ dr2  secondary, nbd unix:/run/cascade.sock
`,
  );
});

Deno.test("the tree tells of log-only nodes, schedules and dialling from above", () => {
  const lines = ["bunker.yaml", "periodic.yaml", "behind_nat.yaml", "deep.yaml"]
    .map((name) => drawText(planOfSample(name), PLAIN, false)).join("\n");
  for (
    const words of [
      "sync, fail after 10s ──▶ bunker  intermediate, log only",
      "periodic, every 15m, within 22:00-06:00 ──▶ far",
      "periodic, at 0 3 * * sun ──▶ weekly",
      "async, dialled from above ──▶ far",
      "            ├── async ──▶ e  secondary",
    ]
  ) assert(lines.includes(words), `${words}\nis missing in\n${lines}`);
});

Deno.test("details tell folder, log, volumes and addresses of each node", () => {
  assertEquals(
    drawText(planOfSample("pair.yaml"), PLAIN, true),
    `pair  data 1GiB

hq  primary
│   dir     /srv/hq
│   log     1GiB in segments of 64MiB
│   volume  data: /srv/hq.img
│   listen  unix:/srv/hq.link
│   nbd     unix:/srv/hq.nbd
│   admin   unix:/srv/hq.admin
└── async ──▶ dr  secondary
        dir     /srv/dr
        log     1GiB in segments of 64MiB
        volume  data: /srv/dr.img
        admin   unix:/srv/dr.admin
`,
  );
});

Deno.test("Mermaid and dot have every node and every link", () => {
  const plan = planOfSample("pair.yaml");
  assertEquals(
    drawMermaid(plan),
    `flowchart TD
  n0[["hq<br/>primary"]]
  n1["dr<br/>secondary"]
  n0 -->|"async"| n1
`,
  );
  assertEquals(
    drawDot(plan),
    `digraph "pair" {
  node [shape=box];
  "hq" [label="hq\\nprimary", style=bold];
  "dr" [label="dr\\nsecondary"];
  "hq" -> "dr" [label="async"];
}
`,
  );
});

Deno.test("the JSON document is what its schema says, and holds no secret", () => {
  const plan = planOfSample("four_hosts.yaml");
  assertEquals(planSchema.parse(JSON.parse(JSON.stringify(plan))), plan);
  assert(!JSON.stringify(plan).includes("SECRET") && !JSON.stringify(plan).includes("TOKEN"));
});
