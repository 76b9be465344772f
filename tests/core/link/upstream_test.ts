import { assert, assertEquals } from "@std/assert";
import {
  FRAME_HEADER_BYTES,
  FrameType,
  jsonFrame,
  sealFrame,
  TIDE_BYTES,
  writeTide,
} from "../../../core/link/frames.ts";
import { BEHIND_BYTES, PROTOCOL_VERSION } from "../../../core/link/link_limits.ts";
import { UpstreamLink } from "../../../core/link/upstream.ts";
import { Wire } from "../../../core/link/wire.ts";
import { TICK_INTERVAL_MS } from "../../../core/node_limits.ts";
import { settle } from "../../support/manual_clock.ts";
import { makeHost } from "../../support/link_host.ts";
import { connectionPair } from "../../support/pair.ts";
import { makeReign, makeRig } from "../../support/rig.ts";
import { makeEpoch, makeLink, MemoryJournal } from "../../support/small.ts";

const HELLO = {
  protocol: PROTOCOL_VERSION,
  cluster: "payroll",
  node: "a",
  peer: "b",
  instance: "2",
  nonce: "",
  view: null,
  purpose: "link" as const,
};

/** A link that streams, and the end above it. */
async function makeStreaming() {
  const rig = await makeRig({ reigns: false });
  const journal = new MemoryJournal();
  const link = new UpstreamLink(makeHost(rig, journal), makeLink());
  const [near, far] = connectionPair();
  const wire = new Wire(near, rig.clock);
  const above = new Wire(far, rig.clock);
  const served = link.serve(wire, HELLO);
  assertEquals((await above.receive()).type, FrameType.POSITION);
  above.send(jsonFrame(FrameType.ACCEPT, { fromLsn: 0, base: { data: "blank" } }));
  const tick = async () => {
    await settle();
    rig.clock.advance(TICK_INTERVAL_MS);
    link.tick();
    await settle();
  };
  const said = () => journal.lines.map(({ message }) => message);
  const end = async () => {
    wire.close();
    await served;
  };
  return { rig, link, above, tick, said, end };
}

/** A DATA frame, or a TIDE without records. */
function frame(firstLsn: number, records: Uint8Array, stableLsn: number, primaryEndLsn: number) {
  const bytes = new Uint8Array(FRAME_HEADER_BYTES + TIDE_BYTES + records.length);
  const tide = { stableLsn, primaryTimeMs: 7, primaryEndLsn, firstLsn };
  writeTide(bytes, FRAME_HEADER_BYTES, tide);
  bytes.set(records, FRAME_HEADER_BYTES + TIDE_BYTES);
  const type = records.length === 0 ? FrameType.TIDE : FrameType.DATA;
  sealFrame(bytes, 0, type, 0, TIDE_BYTES + records.length, TIDE_BYTES);
  return bytes;
}

Deno.test("a link that follows closely under load streams, and says so once", async () => {
  const { rig, link, above, tick, said, end } = await makeStreaming();
  let lsn = 0;
  for (const [index, record] of makeReign(makeEpoch(1, 0), 20).entries()) {
    const next = lsn + record.length;
    // Mostly the primary has more by then than it may send.
    above.send(frame(lsn, record, next, next + 1000 * (index % 3)));
    await tick();
    lsn = next;
  }
  assertEquals(link.state(), "streaming");
  assertEquals(said(), ["link streaming"]);
  // Far behind is told,
  above.send(frame(lsn, new Uint8Array(0), lsn + BEHIND_BYTES, lsn + BEHIND_BYTES));
  await tick();
  assertEquals(said().slice(1), ["link catching-up"]);
  // and that what was final upstream is not any more ends the connection.
  above.send(frame(lsn, new Uint8Array(0), lsn, lsn));
  await tick();
  assertEquals(link.state(), "disconnected");
  await end();
  assert(rig.fatal.length === 0);
});
