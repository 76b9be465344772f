import { assertEquals } from "@std/assert";
import type { HostDeltas } from "../../../core/link/host.ts";
import type { NodeConfig } from "../../../core/config.ts";
import { type Epoch, History } from "../../../core/history.ts";
import { judgePosition, type Verdict } from "../../../core/link/judge.ts";
import { type PositionMessage, refuseSchema } from "../../../core/link/messages.ts";
import type { Pipeline } from "../../../core/pipeline.ts";
import { makeEpoch } from "../../support/small.ts";

const E1 = makeEpoch(1, 0);
const E2 = makeEpoch(2, 1000);
const E3 = makeEpoch(3, 2000);

interface Here {
  reigns?: boolean;
  history?: readonly Epoch[];
  startLsn?: number;
  endLsn?: number;
  volumes?: readonly { name: string; sizeBytes: number }[];
  base?: Record<string, string> | null;
  isInPlace?: boolean;
  volumesHere?: boolean;
  /** What a peer lacks of the log that is gone is known. */
  mapped?: boolean;
}

/** As much of a host as the judge looks at. */
function makeHost(here: Here) {
  const volumes = here.volumes ?? [{ name: "data", sizeBytes: 4096 }];
  const pipeline = {
    history: new History(here.history ?? [E1]),
    reigns: here.reigns ?? true,
    appendedLsn: here.endLsn ?? 3000,
    log: { startLsn: here.startLsn ?? 0 },
  };
  return {
    config: { name: "a", volumes } as unknown as NodeConfig,
    scans: null,
    base: here.base === undefined ? { data: "blank" } : here.base,
    pipeline: pipeline as unknown as Pipeline,
    deltas: { isInPlace: here.isInPlace ?? false, isFresh: false } as unknown as HostDeltas,
  };
}

/** How the log, deltas and maps of a host reach back; without volumes nothing else does. */
function makeWays(here: Here) {
  const goesOnFrom = (lsn: number) => lsn >= (here.startLsn ?? 0);
  return {
    goesOnFrom,
    reaches: (lsn: number) => goesOnFrom(lsn) || (here.mapped ?? false),
    hasVolumes: here.volumesHere ?? false,
  };
}

function makePosition(change: Partial<PositionMessage> = {}): PositionMessage {
  return {
    history: [E1],
    endLsn: 3000,
    stableLsn: 3000,
    volumes: [{ name: "data", sizeBytes: 4096 }],
    base: { data: "blank" },
    fresh: false,
    inPlace: false,
    staged: null,
    rejoins: false,
    ...change,
  };
}

function judge(here: Here, position: PositionMessage): Verdict {
  return judgePosition(makeHost(here), position, makeWays(here));
}

/** A verdict as one word or number. */
function told(verdict: Verdict): string | number {
  return verdict.kind === "accept" ? verdict.fromLsn : verdict.refusal.code;
}

const CASES: [string, Here, Partial<PositionMessage>, string | number][] = [
  ["a new peer is fed from the start", {}, { history: [], endLsn: 0, stableLsn: 0 }, 0],
  ["a peer that follows goes on where it ends", {}, { endLsn: 1500, stableLsn: 1400 }, 1500],
  ["a peer that has all goes on at the end", {}, {}, 3000],
  [
    "a peer of the reign before goes on where it ends",
    { history: [E1, E2] },
    { endLsn: 600, stableLsn: 600 },
    600,
  ],
  [
    "a peer that ends where the new reign begins goes on there",
    { history: [E1, E2] },
    { endLsn: 1000, stableLsn: 1000 },
    1000,
  ],
  [
    "a provisional tail past the fork is fed from the fork",
    { history: [E1, E2] },
    { endLsn: 1800, stableLsn: 900 },
    1000,
  ],
  [
    "a provisional tail that is stable up to the fork is fed from the fork",
    { history: [E1, E2] },
    { endLsn: 1800, stableLsn: 1000 },
    1000,
  ],
  [
    "a stable tail past the fork is an abandoned one",
    { history: [E1, E2] },
    { endLsn: 1800, stableLsn: 1001 },
    "abandoned-tail",
  ],
  [
    "a stable tail of a lower reign is an abandoned one",
    { history: [E1, E3] },
    { history: [E1, E2], endLsn: 1800, stableLsn: 1800 },
    "abandoned-tail",
  ],
  [
    "a provisional tail of another reign is fed from the fork",
    { history: [E1, E3] },
    { history: [E1, E2], endLsn: 1800, stableLsn: 1000 },
    1000,
  ],
  [
    "equal numbers with different ids and stable records are a conflict",
    { history: [E1, E2] },
    { history: [E1, makeEpoch(2, 1200, "other")], endLsn: 1800, stableLsn: 1800 },
    "conflict",
  ],
  [
    "equal numbers with different ids and nothing stable are fed from the fork",
    { history: [E1, E2] },
    { history: [E1, makeEpoch(2, 800, "other")], endLsn: 1800, stableLsn: 700 },
    800,
  ],
  [
    "nothing in common and stable records are a conflict",
    { history: [E1] },
    { history: [makeEpoch(1, 0, "other")], stableLsn: 16 },
    "conflict",
  ],
  [
    "a primary does not feed a peer that holds more for good",
    { endLsn: 2000 },
    { endLsn: 2500, stableLsn: 2100 },
    "conflict",
  ],
  [
    "a peer with a provisional tail past a primary of the same reign goes on at the primary's end",
    { endLsn: 2000 },
    { endLsn: 2500, stableLsn: 2000 },
    2000,
  ],
  [
    "a primary does not feed a peer that knows a later reign for good",
    { history: [E1, E2] },
    { history: [E1, E2, E3], stableLsn: 2500 },
    "conflict",
  ],
  [
    "an intermediate that lost its tail feeds a peer that is ahead from its own end",
    { reigns: false, endLsn: 2000 },
    { endLsn: 2500, stableLsn: 2400 },
    2000,
  ],
  [
    "an intermediate that lost the news of a reign feeds a peer that has it",
    { reigns: false, history: [E1], endLsn: 900 },
    { history: [E1, E2], endLsn: 1500, stableLsn: 1500 },
    900,
  ],
  [
    "an intermediate whose tail the peer's later reign contradicts does not feed it",
    { reigns: false, history: [E1], endLsn: 1100 },
    { history: [E1, E2], endLsn: 1500, stableLsn: 1500 },
    "conflict",
  ],
  [
    "an empty intermediate feeds a peer that has something, once it has the same",
    { reigns: false, history: [], endLsn: 0 },
    { endLsn: 1500, stableLsn: 1500 },
    0,
  ],
  [
    "a log that begins where the peer ends is enough",
    { startLsn: 1500 },
    { endLsn: 1500, stableLsn: 1500 },
    1500,
  ],
  [
    "a log that begins above the peer's position needs a delta",
    { startLsn: 1516 },
    { endLsn: 1500, stableLsn: 1500 },
    "delta-needed",
  ],
  [
    "a log that begins above the fork needs a delta",
    { history: [E1, E2], startLsn: 1016 },
    { endLsn: 1800, stableLsn: 900 },
    "delta-needed",
  ],
  [
    "another name of a volume is refused",
    {},
    { volumes: [{ name: "log", sizeBytes: 4096 }] },
    "wrong-volumes",
  ],
  [
    "another size of a volume is refused",
    {},
    { volumes: [{ name: "data", sizeBytes: 8192 }] },
    "wrong-volumes",
  ],
  ["a missing volume is refused", {}, { volumes: [] }, "wrong-volumes"],
  ["another base image is refused", {}, { base: { data: "ab12" } }, "other-image"],
  ["a base image without the volume is refused", {}, { base: {} }, "other-image"],
  ["a log-only peer that was not told yet is fed", {}, { base: null }, 3000],
  [
    "a log-only node that was not told yet cannot vouch for the image, and says later",
    { reigns: false, base: null },
    {},
    "not-ready",
  ],
  [
    "neither can it for a peer that was not told either",
    { reigns: false, base: null },
    { base: null },
    "not-ready",
  ],
];

CASES.push(
  [
    "a node with volumes gives a peer that nothing is known of all blocks",
    { startLsn: 1516, volumesHere: true },
    { endLsn: 1500, stableLsn: 1500 },
    1500,
  ],
  [
    "a blank peer is given a first copy of another image",
    { base: { data: "ab12" }, volumesHere: true },
    { history: [], endLsn: 0, stableLsn: 0, fresh: true },
    0,
  ],
  [
    "a node without volumes has no first copy to give",
    { base: { data: "ab12" } },
    { history: [], endLsn: 0, stableLsn: 0, fresh: true },
    "delta-needed",
  ],
  [
    "a node that is being filled feeds nobody",
    { isInPlace: true },
    {},
    "not-ready",
  ],
);

for (const [what, here, position, expected] of CASES) {
  Deno.test(what, () => {
    assertEquals(told(judge(here, makePosition(position))), expected);
  });
}

Deno.test("another order of the volumes is refused, since records name them by number", () => {
  const volumes = [{ name: "data", sizeBytes: 4096 }, { name: "log", sizeBytes: 4096 }];
  const here = { volumes, base: { data: "blank", log: "blank" } };
  const position = makePosition({ volumes: [...volumes].reverse() });
  assertEquals(told(judge(here, position)), "wrong-volumes");
});

Deno.test("an abandoned tail is told with the LSN of the fork", () => {
  const verdict = judge({ history: [E1, E2] }, makePosition({ endLsn: 1800, stableLsn: 1800 }));
  assertEquals(verdict.kind === "refuse" && verdict.refusal.forkLsn, 1000);
});

Deno.test("a refusal is one that the peer can read, however many volumes there are", () => {
  const volumes = Array.from({ length: 200 }, (_, index) => ({
    name: `volume-${index}`,
    sizeBytes: 4096,
  }));
  const verdict = judge({ volumes }, makePosition());
  assertEquals(verdict.kind === "refuse" && refuseSchema.safeParse(verdict.refusal).success, true);
});

Deno.test("a blank peer is filled in place, however well it is known what it lacks", () => {
  const blank = { history: [], endLsn: 0, stableLsn: 0, fresh: true };
  const here = { startLsn: 1516, volumesHere: true, mapped: true };
  const verdicts = [judge(here, makePosition(blank)), judge({}, makePosition(blank))];
  assertEquals(verdicts.map((verdict) => verdict.kind === "accept" && verdict.needsSeed), [
    true,
    false,
  ]);
});
