import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { cascade, inFolder } from "./cascade.ts";

const SAMPLES = new URL("../../samples/", import.meta.url).pathname;
const WRONG = new URL("../topologies/", import.meta.url).pathname;

Deno.test("check is silent on a good file, however it is named", async () => {
  await inFolder(async (folder) => {
    const good = { code: 0, stdout: "", stderr: "" };
    const file = `${SAMPLES}pair.yaml`;
    assertEquals(await cascade(folder, ["check", file]), good);
    assertEquals(await cascade(folder, ["check", "-t", file]), good);
    assertEquals(await cascade(folder, ["check"], { CASCADE_TOPOLOGY: file }), good);
    Deno.copyFileSync(file, `${folder}/topology.yaml`);
    assertEquals(await cascade(folder, ["check"]), good);
  });
});

Deno.test("check tells every problem with its place, on stderr, and exits with 2", async () => {
  await inFolder(async (folder) => {
    Deno.copyFileSync(`${WRONG}misspelt_node_name.yaml`, `${folder}/t.yaml`);
    assertEquals(await cascade(folder, ["check", "t.yaml"]), {
      code: 2,
      stdout: "",
      stderr: 't.yaml:24:13: error: there is no node "metor"; did you mean "metro"?\n',
    });
  });
});

Deno.test("warnings are told and exit with 0", async () => {
  await inFolder(async (folder) => {
    const { code, stderr } = await cascade(folder, ["check", `${WRONG}warning_open_nbd.yaml`]);
    assertEquals(code, 0);
    assertStringIncludes(stderr, ":11:10: warning: whoever reaches tcp://10.0.0.1:10809");
  });
});

Deno.test("check --json is one document, good or bad", async () => {
  await inFolder(async (folder) => {
    const bad = await cascade(folder, ["check", "--json", `${WRONG}many_mistakes.yaml`]);
    assertEquals([bad.code, bad.stderr], [2, ""]);
    const report = JSON.parse(bad.stdout);
    assertEquals([report.ok, report.errors, report.warnings], [false, 4, 0]);
    assertEquals(report.problems[0].nearest, "name");
    const good = await cascade(folder, ["check", "--json", `${SAMPLES}four_hosts.yaml`]);
    assertEquals(good.code, 0);
    assertEquals(JSON.parse(good.stdout).outages.length, 2);
  });
});

Deno.test("check --verbose tells how long an outage each log bridges", async () => {
  await inFolder(async (folder) => {
    const args = ["check", "-v", "--write-rate", "50MiB/s", `${SAMPLES}four_hosts.yaml`];
    const { code, stdout } = await cascade(folder, args);
    assertEquals(code, 0);
    assertStringIncludes(stdout, "payroll: 4 nodes, 3 links, data 10GiB");
    assertStringIncludes(stdout, "at 50MiB/s of writes");
    assertStringIncludes(stdout, "2m38s    from the log of hq ");
    assert(!stdout.includes("dr1"), "a node that feeds nobody keeps no log for others");
  });
});

Deno.test("a volume that is here with another size is warned of", async () => {
  await inFolder(async (folder) => {
    Deno.copyFileSync(`${SAMPLES}pair.yaml`, `${folder}/topology.yaml`);
    Deno.writeFileSync(`${folder}/hq.img`, new Uint8Array(4096));
    const { code, stderr } = await cascade(folder, ["check"]);
    assertEquals(code, 0);
    assertStringIncludes(stderr, "topology.yaml:14:22: warning: ");
    assertStringIncludes(stderr, 'has 4KiB on this machine; volume "data" is declared with 1GiB');
  });
});

Deno.test("what is not a topology file is told apart from a wrong one", async () => {
  await inFolder(async (folder) => {
    Deno.writeFileSync(`${folder}/latin1.yaml`, new Uint8Array([0x61, 0x3a, 0x20, 0xe9, 0x0a]));
    for (
      const [path, words] of [
        ["nowhere.yaml", "`cascade init` writes one"],
        [".", "is a folder"],
        ["latin1.yaml", "not UTF-8"],
      ] as const
    ) {
      const { code, stdout, stderr } = await cascade(folder, ["check", path]);
      assertEquals([code, stdout], [2, ""]);
      assertStringIncludes(stderr, words);
    }
  });
});
