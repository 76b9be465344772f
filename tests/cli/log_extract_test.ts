import { assertEquals, assertRejects } from "@std/assert";
import { extractLog } from "../../cli/log_extract.ts";
import { CascadeError } from "../../core/errors.ts";
import { CascadeNode } from "../../core/node.ts";
import { denoPorts } from "../../io/world.ts";
import { loadNodeConfig, loadTopology } from "../../io/topology_file.ts";
import { DeltaShelf } from "../../core/delta/delta_shelf.ts";
import { DenoClock } from "../../io/clock.ts";
import { DenoDisk } from "../../io/disk.ts";
import { makeBody, makeDeltaHeader, makeDeltaTrailer } from "../core/delta/made_up_delta.ts";
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

Deno.test("deltas are written out in the order in which they came, also without any records", () =>
  withFolder(async (folder) => {
    const kept = `${folder}/4096-100-300`;
    Deno.mkdirSync(kept);
    const shelf = await DeltaShelf.open(new DenoDisk(), kept, new DenoClock());
    for (const [fill, toLsn] of [[1, 200], [2, 300]] as const) {
      const body = makeBody([
        { volume: 0, offset: 0, length: 512, fill },
        { volume: 0, offset: 1024, length: 512, fill: null },
        { volume: 0, offset: 4096 * fill, length: 512, fill },
      ]);
      const id = String(fill).repeat(32);
      shelf.begin(makeDeltaHeader({ id, fromLsn: 100, toLsn })).append(body.bytes);
      await shelf.commit(makeDeltaTrailer(body.bytes.length, { id, toLsn, records: 3 }));
    }
    shelf.close();
    const done = await extractLog(kept, `${folder}/lost`, null);
    assertEquals([done.fromLsn, done.records, done.deltas, done.gaps], [100, 0, 2, 0]);
    const image = Deno.readFileSync(`${folder}/lost/volume-0.img`);
    assertEquals([0, 4096, 8192].map((offset) => image[offset]), [2, 1, 2]);
    const lines = Deno.readTextFileSync(done.list).trimEnd().split("\n");
    assertEquals(lines.slice(1).map((line) => line.split("\t")[0]), [
      ...["200", "200", "200", "300", "300", "300"],
    ]);
  }));
