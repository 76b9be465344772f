import { assertEquals, assertRejects } from "@std/assert";
import { extractLog } from "../../cli/log_extract.ts";
import { CascadeError } from "../../core/errors.ts";
import { CascadeNode } from "../../core/node.ts";
import { denoPorts } from "../../io/world.ts";
import { loadNodeConfig, loadTopology } from "../../io/topology_file.ts";
import { withFolder } from "../io/helpers.ts";

const TOPOLOGY = `
cascade: 1
name: payroll
secret: ./secret
volumes: { data: { size: 1MiB } }
nodes:
  hq: { role: primary, dir: ./hq, volumes: { data: ./hq.img }, log: { budget: 16MiB, segment: 4MiB } }
`;

Deno.test("what the records of a log wrote is written out, the last writer's", () =>
  withFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/secret`, "a-secret-of-some-length-0123456789", {
      mode: 0o600,
    });
    await Deno.writeTextFile(`${folder}/topology.yaml`, TOPOLOGY);
    const config = loadNodeConfig(loadTopology(`${folder}/topology.yaml`), "hq");
    const node = await CascadeNode.start(config, denoPorts({ journal: { write: () => {} } }));
    await node.ready;
    const [volume] = node.exports;
    volume!.write(new Uint8Array(8192).fill(1), 4096);
    node.front.commit();
    const fromLsn = node.pipeline.appendedLsn;
    volume!.write(new Uint8Array(4096).fill(2), 65536);
    volume!.write(new Uint8Array(512).fill(3), 65536);
    volume!.zero(66048, 512, true);
    node.front.commit();
    await node.stop();

    const all = await extractLog(`${folder}/hq`, `${folder}/all`, null);
    assertEquals([all.records, all.images.map(({ bytes }) => bytes)], [4, [69632]]);
    const image = Deno.readFileSync(`${folder}/all/data.img`);
    const at = (offset: number) => image[offset];
    assertEquals([0, 4096, 12287, 65536, 66048, 66560].map(at), [0, 1, 1, 3, 0, 2]);
    assertEquals(Deno.readTextFileSync(all.list).split("\n")[1]?.split("\t").slice(1), [
      "data",
      "write",
      "4096",
      "8192",
    ]);
    const some = await extractLog(`${folder}/hq`, `${folder}/some`, fromLsn);
    assertEquals(some.records, 3);
    assertEquals(Deno.readFileSync(`${folder}/some/data.img`)[4096], 0);
    // Nothing is overwritten.
    await assertRejects(() => extractLog(`${folder}/hq`, `${folder}/some`, null), CascadeError);
    await assertRejects(() => extractLog(`${folder}/none`, `${folder}/new`, null), CascadeError);
  }));
