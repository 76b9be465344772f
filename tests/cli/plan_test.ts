import { assertEquals, assertStringIncludes } from "@std/assert";
import { planSchema } from "../../core/topology/plan.ts";
import { cascade, inFolder } from "./cascade.ts";

const FILE = new URL("../../samples/four_hosts.yaml", import.meta.url).pathname;
const WRONG = new URL("../topologies/cycle.yaml", import.meta.url).pathname;

Deno.test("plan draws a tree, without colour off a terminal", async () => {
  await inFolder(async (folder) => {
    const { code, stdout, stderr } = await cascade(folder, ["plan", FILE]);
    assertEquals([code, stderr], [0, ""]);
    assertStringIncludes(stdout, "└── sync, degrade after 2s ──▶ metro  intermediate\n");
    assertEquals(stdout.includes("\x1b"), false);
  });
});

Deno.test("plan prints mermaid, dot, and JSON by its schema", async () => {
  await inFolder(async (folder) => {
    const first = async (...args: string[]) =>
      (await cascade(folder, ["plan", FILE, ...args])).stdout.split("\n")[0];
    assertEquals(await first("--format", "mermaid"), "flowchart TD");
    assertEquals(await first("-f", "dot"), 'digraph "payroll" {');
    const { stdout } = await cascade(folder, ["plan", FILE, "--json"]);
    assertEquals(planSchema.parse(JSON.parse(stdout)).nodes.length, 4);
  });
});

Deno.test("plan of a wrong topology tells its problems and draws nothing", async () => {
  await inFolder(async (folder) => {
    const { code, stdout, stderr } = await cascade(folder, ["plan", WRONG]);
    assertEquals([code, stdout], [2, ""]);
    assertStringIncludes(stderr, "cycle.yaml:24:13: error: the links run in a circle");
    assertEquals(stderr.startsWith(WRONG), true);
  });
});
