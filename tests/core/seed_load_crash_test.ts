/**
 * Loading a seed file, with the process killed and the power cut anywhere: the same command again and again
 * ends with a node that holds what the file says, and stands where it says.
 */
import { assert, assertEquals } from "@std/assert";
import type { NodeConfig } from "../../core/config.ts";
import { encodeDeltaHeader, encodeDeltaTrailer } from "../../core/delta/delta_format.ts";
import { openSeedFile, seedProof } from "../../core/delta/seed_file.ts";
import { emptyNode } from "../../core/empty_node.ts";
import { CascadeError, isCascadeError } from "../../core/errors.ts";
import type { Network, Ports } from "../../core/ports.ts";
import { loadSeed, placeOf } from "../../core/seed_load.ts";
import { StateFile } from "../../core/state.ts";
import { SimDeath } from "../sim/life.ts";
import { makeHost } from "../support/link_host.ts";
import { makeRig } from "../support/rig.ts";
import { CountingRandom, makeEpoch, MemoryJournal, noHooks } from "../support/small.ts";
import {
  type MadeUpRun,
  makeBody,
  makeDeltaHeader,
  makeDeltaTrailer,
} from "./delta/made_up_delta.ts";
import { LogWorld } from "./log/world.ts";

const SIZE = 256 * 1024;
const SEED = "/media/x.seed";
const TO_LSN = 160_000;

/** Two passes: the second overrides some of the first, and makes a hole. */
const RUNS: MadeUpRun[] = [
  ...Array.from({ length: 16 }, (_, i) => ({
    ...{ volume: 0, offset: i * 16_384, length: 8192, fill: i + 1, pass: 1 },
  })),
  ...Array.from({ length: 5 }, (_, i) => ({
    ...{ volume: 0, offset: i * 40_000, length: 5000, fill: i === 2 ? null : 100 + i, pass: 2 },
  })),
];

function expectedImage(): Uint8Array {
  const image = new Uint8Array(SIZE);
  for (const { offset, length, fill } of RUNS) image.fill(fill ?? 0, offset, offset + length);
  return image;
}

function seedBytes(secret: Uint8Array, id: string): Uint8Array {
  const { bytes } = makeBody(RUNS);
  const volumes = [{ name: "data", sizeBytes: SIZE }];
  const note = { node: "a", base: { data: "blank" }, madeAtMs: 1, proof: seedProof(secret, id) };
  const parts = [
    encodeDeltaHeader(
      makeDeltaHeader({ id, full: true, source: "volume", toLsn: null, volumes, seed: note }),
    ),
    bytes,
    encodeDeltaTrailer(makeDeltaTrailer(bytes.length, {
      ...{ id, toLsn: TO_LSN, records: RUNS.length, logBytes: TO_LSN, history: [makeEpoch(1, 0)] },
    })),
  ];
  return new Uint8Array(parts.flatMap((part) => [...part]));
}

async function makeConfig(): Promise<NodeConfig> {
  const base = makeHost(await makeRig(), new MemoryJournal()).config;
  const volumes = [{ name: "data", sizeBytes: SIZE, path: "/vols/data" }];
  return { ...base, dir: "/n/b", downstream: [], volumes };
}

function portsOf(world: LogWorld): Ports {
  const nobody: Network = {
    dial: () => Promise.reject(new CascadeError("unreachable", "nobody")),
    listen: () => Promise.reject(new CascadeError("address-in-use", "taken")),
  };
  const { disk, clock } = world;
  const random = new CountingRandom(world.life.number);
  return { disk, network: nobody, clock, random, journal: new MemoryJournal(), hooks: noHooks };
}

/** What the command does, in one life. */
async function run(world: LogWorld, config: NodeConfig): Promise<boolean> {
  const ports = portsOf(world);
  const seed = openSeedFile(ports.disk, SEED);
  if (placeOf(config, seed, ports) === "loaded") return true;
  const told = { stopped: () => false, onDone() {} };
  return (await world.settle(loadSeed(config, seed, ports, told))).done;
}

/** Whether the life ended, rather than the work. */
async function dies(work: Promise<unknown>): Promise<boolean> {
  try {
    await work;
    return false;
  } catch (error) {
    const isDeath = error instanceof SimDeath || (error as Error)?.cause instanceof SimDeath;
    if (!isDeath) throw error;
    return true;
  }
}

function assertLoaded(world: LogWorld, config: NodeConfig): void {
  const state = new StateFile(world.disk, config.dir).load();
  assertEquals([state?.checkpointLsn, state?.inPlace], [TO_LSN, null]);
  const image = new Uint8Array(SIZE);
  world.disk.open("/vols/data", { readOnly: true }).readAt(image, 0);
  const expected = expectedImage();
  const at = image.findIndex((byte, index) => byte !== expected[index]);
  assert(at < 0, `the volume differs at byte ${at}`);
}

function makeWorld(number: number, config: NodeConfig): LogWorld {
  const world = new LogWorld(number);
  for (const folder of ["/n", "/vols", "/media"]) world.host.placeFolder(folder);
  world.host.place(SEED, seedBytes(config.secret, "ab".repeat(16)));
  return world;
}

Deno.test("a load that is cut off anywhere, again and again, ends with the node that the file tells of", async () => {
  const config = await makeConfig();
  for (let number = 1; number <= 60; number++) {
    const world = makeWorld(number, config);
    for (let life = 0; life < 6; life++) {
      world.dieAfter(1 + world.prng.below(life === 0 ? number : 40));
      if (!await dies(run(world, config))) break;
      world.crash(world.prng.below(2) === 0 ? "process" : "power");
    }
    world.crash("process");
    assert(await run(world, config), `number ${number}`);
    world.crash("power");
    assertLoaded(world, config);
  }
});

Deno.test("an emptying that is cut off anywhere leaves a node that is refused, or can be emptied and loaded", async () => {
  const config = await makeConfig();
  for (let number = 1; number <= 12; number++) {
    const world = makeWorld(number, config);
    assert(await run(world, config));
    world.crash("process");
    world.dieAfter(number);
    const emptied = world.settle(emptyNode(config, world.disk, world.clock));
    if (await dies(emptied)) world.crash(number % 2 === 0 ? "power" : "process");
    else world.crash("process");
    world.host.place(SEED, seedBytes(config.secret, "cd".repeat(16)));
    // Without another emptying it is whole, blank, or refused; never half of an image.
    try {
      assert(await run(world, config));
      world.crash("power");
      assertLoaded(world, config);
    } catch (error) {
      assert(isCascadeError(error), String(error));
      world.crash("process");
      await world.settle(emptyNode(config, world.disk, world.clock));
      assert(await run(world, config));
      world.crash("power");
      assertLoaded(world, config);
    }
  }
});
