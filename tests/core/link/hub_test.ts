import { assertEquals } from "@std/assert";
import { LinkHub } from "../../../core/link/hub.ts";
import type { Connection } from "../../../core/ports.ts";
import { makeHost } from "../../support/link_host.ts";
import { settle } from "../../support/manual_clock.ts";
import { connectionPair } from "../../support/pair.ts";
import { makeRig } from "../../support/rig.ts";
import { MemoryJournal } from "../../support/small.ts";

Deno.test("a flood of strangers is a line a second in the journal, with a count", async () => {
  const rig = await makeRig({ reigns: false });
  const journal = new MemoryJournal();
  let accept: (connection: Connection) => void = () => {};
  const network = {
    dial: () => Promise.reject(new Error("nobody")),
    listen: (address: string, call: (connection: Connection) => void) => {
      accept = call;
      return Promise.resolve({ address, close() {} });
    },
  };
  const hub = new LinkHub(makeHost(rig, journal, network));
  await hub.start();
  for (let stranger = 0; stranger < 200; stranger++) {
    const [near, far] = connectionPair();
    accept(near);
    await far.write(new Uint8Array(64).fill(stranger));
    far.close();
    await settle();
  }
  const dropped = () => journal.lines.filter(({ message }) => message.includes("was dropped"));
  assertEquals(dropped().length, 1);
  rig.clock.advance(1000);
  assertEquals(dropped().map(({ fields }) => fields["untold"]), [undefined, 198]);
  hub.stop();
  await settle();
});
