import { assert, assertEquals } from "@std/assert";
import { DownstreamLink } from "../../../core/link/downstream.ts";
import { Folding } from "../../../core/link/folding.ts";
import { FrameType, jsonFrame } from "../../../core/link/frames.ts";
import type { Hello, PositionMessage } from "../../../core/link/messages.ts";
import { PROTOCOL_VERSION } from "../../../core/link/link_limits.ts";
import { Wire } from "../../../core/link/wire.ts";
import { makeHost } from "../../support/link_host.ts";
import { settle, until } from "../../support/manual_clock.ts";
import { makeDeltaHeader } from "../delta/made_up_delta.ts";
import { connectionPair } from "../../support/pair.ts";
import { beginReign, makeRig, makeWrite, type Rig } from "../../support/rig.ts";
import { makeEpoch, makeLink, MemoryJournal } from "../../support/small.ts";

const HELLO: Hello = {
  protocol: PROTOCOL_VERSION,
  cluster: "payroll",
  node: "c",
  peer: "b",
  instance: "2",
  nonce: "",
  view: null,
  purpose: "link",
};

/** Writes a little more; returns the end. */
async function write(rig: Rig): Promise<number> {
  rig.log.append(makeWrite(1, rig.log.endLsn, 0, 512, 7));
  rig.pipeline.appended();
  rig.pipeline.flushNow();
  await rig.log.flushed();
  await settle();
  return rig.log.endLsn;
}

/** Says where the peer is. */
function positionAt(lsn: number): PositionMessage {
  return {
    history: [makeEpoch(1, 0)],
    endLsn: lsn,
    stableLsn: lsn,
    volumes: [{ name: "data", sizeBytes: 1024 * 1024 }],
    base: { data: "blank" },
    fresh: false,
    inPlace: false,
    staged: null,
    rejoins: false,
  };
}

Deno.test("log goes that a map of what the peer has by now still held, before the peer tells", async () => {
  const rig = await makeRig();
  rig.disk.makeFolder("/b");
  const config = makeLink({ name: "b-c", from: "b", to: "c" });
  const host = makeHost(rig, new MemoryJournal(), undefined, [config]);
  const link = new DownstreamLink(host, config);
  const folding = new Folding(host, [link]);
  const mappedLsn = await beginReign(rig, 5);
  const goneLsn = await write(rig);
  const peerLsn = await write(rig);
  await folding.foldTo(mappedLsn);
  assertEquals([link.neededLsn(), folding.neededLsn()], [mappedLsn, mappedLsn]);

  const [near, far] = connectionPair();
  const peer = new Wire(far, rig.clock);
  const served = link.serve(new Wire(near, rig.clock), HELLO);
  peer.send(jsonFrame(FrameType.POSITION, positionAt(peerLsn)));
  await until(() => link.connected, "the peer is accepted", rig.clock);
  await folding.foldTo(goneLsn);
  assert(folding.neededLsn() >= goneLsn, `LSN ${folding.neededLsn()} is held on to`);
  peer.close();
  await served;
});

Deno.test("a periodic link rests where what its peer has staged leads nowhere", async () => {
  const rig = await makeRig();
  rig.disk.makeFolder("/b");
  const schedule = { everyMs: 3_600_000, cron: null, window: null, jitterMs: 0, timezone: null };
  const config = makeLink({ name: "b-c", from: "b", to: "c", mode: "periodic", schedule });
  const host = makeHost(rig, new MemoryJournal(), undefined, [config]);
  const link = new DownstreamLink(host, config);
  const endLsn = await beginReign(rig, 5);
  const [near, far] = connectionPair();
  const peer = new Wire(far, rig.clock);
  const served = link.serve(new Wire(near, rig.clock), HELLO);
  // Another node began it, and is gone.
  const header = makeDeltaHeader({ source: "volume", toLsn: null });
  const staged = { header, position: 0, cursor: { pass: 1, volume: 0, offset: 0 } };
  peer.send(jsonFrame(FrameType.POSITION, { ...positionAt(endLsn), staged }));
  await until(() => link.connected, "the peer is accepted", rig.clock);
  await until(() => link.status().schedule?.lastRun?.outcome === "nothing", "a run", rig.clock);
  peer.close();
  await served;
});
