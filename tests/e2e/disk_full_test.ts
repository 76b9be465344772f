/** A disk that is full, as the runbook has it: clients wait, nothing is lost, the status names it, and it goes on by itself. */
import { assertEquals, assertMatch } from "@std/assert";
import { join } from "node:path";
import { Cluster } from "./support/cluster.ts";
import { e2e } from "./support/e2e.ts";
import { firstDifference } from "./support/images.ts";
import { smallDisk } from "./support/mount.ts";
import { NbdClient } from "./support/nbd_client.ts";
import { until } from "./support/wait.ts";

const MIB = 1024 * 1024;

e2e("a disk that is full under a volume is named, and goes on when it has room", ["root"], async (
  cleanup,
) => {
  const small = await smallDisk(cleanup, 48);
  const image = join(small, "data.img");
  const cluster = Cluster.create(cleanup, {
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "async" }],
    settings: { dr: { volumes: { data: image } } },
  });
  await cluster.start();
  await cluster.converged();
  const filler = join(small, "filler");
  Deno.writeFileSync(filler, new Uint8Array(40 * MIB));
  const client = await NbdClient.connect(cluster.socket("hq"));
  for (let i = 0; i < 24; i++) await client.write(i * MIB, new Uint8Array(MIB).fill(i + 1));
  await client.flush();
  await until("dr says what it lacks", async () => {
    const { stdout } = await cluster.cli(["status"], { codes: null });
    return /no space|no room|disk-full|full/i.test(stdout);
  });
  const { stdout, code } = await cluster.cli(["status", "--node", "dr"], { codes: null });
  assertMatch(stdout, /data\.img/);
  assertEquals(code === 0, false);
  Deno.removeSync(filler);
  await cluster.converged();
  client.close();
  assertEquals(firstDifference(cluster.image("hq"), image), null);
});
