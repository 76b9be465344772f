import { assert, assertEquals } from "@std/assert";
import type { StagedMessage } from "../../core/link/messages.ts";
import { CascadeError } from "../../core/errors.ts";
import type { SeedMaker, SeedSink } from "../../core/node_seeds.ts";
import { startAdmin } from "../../io/admin.ts";
import { NONCE_HEADER, PROOF_HEADER, proofOf } from "../../io/admin_seed.ts";
import { type AdminTarget, openAnswer, readBody } from "../../io/admin_client.ts";
import { fetchSeed } from "../../io/seed_client.ts";
import { makeDeltaHeader, makeDeltaTrailer } from "../core/delta/made_up_delta.ts";
import { assertRejectsCode, MemoryJournal } from "../support/small.ts";
import { nodeStatus } from "./fixtures.ts";

const SECRET = new Uint8Array(32).fill(7);
const PIECE = new Uint8Array(300_000).fill(5);
const NODE = nodeStatus().name;

interface Rig {
  readonly target: AdminTarget & { readonly node: string };
  readonly journal: MemoryJournal;
  readonly closed: () => number;
  readonly staged: () => StagedMessage | null;
}

/** A node of which seeds are what `write` writes. */
async function withMaker(
  write: (sink: SeedSink) => Promise<void>,
  body: (rig: Rig) => Promise<void>,
): Promise<void> {
  let [closed, staged] = [0, null as StagedMessage | null];
  const maker: SeedMaker = {
    begin(told) {
      staged = told;
      return Promise.resolve({
        resumes: told !== null,
        bytesExpected: 900_000,
        async write(sink) {
          await write(sink);
          return makeDeltaTrailer(0);
        },
        close: () => void closed++,
      });
    },
  };
  const journal = new MemoryJournal();
  const admin = await startAdmin({
    address: "http://127.0.0.1:0",
    token: () => null,
    status: () => nodeStatus(),
    seeds: { maker: () => maker, secret: SECRET, journal },
  });
  const target = { address: admin.address, node: NODE, token: null, timeoutMs: 5000 };
  try {
    await body({ target, journal, closed: () => closed, staged: () => staged });
  } finally {
    admin.close();
  }
}

/** Takes a seed, and counts. */
class Taker {
  bytes = 0;
  resumes: boolean | null = null;
  onBegin(resumes: boolean, bytesExpected: number): void {
    assertEquals(bytesExpected, 900_000);
    this.resumes = resumes;
  }
  onBytes(bytes: Uint8Array): void {
    assert(bytes.every((byte) => byte === 5));
    this.bytes += bytes.length;
  }
}

const three = async (sink: SeedSink) => {
  for (let piece = 0; piece < 3; piece++) await sink(PIECE);
};

Deno.test("a seed comes as it is made, and goes on behind what is there of it", () =>
  withMaker(three, async ({ target, closed, staged }) => {
    for (const known of [null, makeStaged()]) {
      const taker = new Taker();
      await fetchSeed(target, SECRET, known, taker);
      assertEquals([taker.bytes, taker.resumes], [900_000, known !== null]);
      assertEquals(staged(), known);
    }
    assertEquals(closed(), 2);
  }));

function makeStaged(): StagedMessage {
  return { header: makeDeltaHeader(), position: 77, cursor: { pass: 1, volume: 0, offset: 5 } };
}

/** Asks with that proof: the code, and the nonce of the answer. */
async function ask(target: AdminTarget, proof: string | null, path = "/seed") {
  const headers = proof === null ? {} : { [PROOF_HEADER]: proof };
  const { response, close } = await openAnswer(target, "POST", path, headers);
  await readBody(response);
  close();
  return { code: response.status, nonce: response.headers.get(NONCE_HEADER) ?? "" };
}

Deno.test("a seed is given to nobody who does not know the secret", () =>
  withMaker(three, async ({ target, closed }) => {
    const taker = new Taker();
    await assertRejectsCode(fetchSeed(target, new Uint8Array(32), null, taker), "refused");
    const { nonce } = await ask(target, null);
    const [time = "", random = "", seal = ""] = nonce.split("-");
    const wrong = [
      "",
      "1.2",
      `${Date.now()}.${"0".repeat(64)}`,
      proofOf(SECRET, "another", nonce, "/seed"),
      proofOf(SECRET, NODE, nonce, "/seed?staged=AA"),
      proofOf(new Uint8Array(32), NODE, nonce, "/seed"),
      // Nonces that the node never made.
      proofOf(SECRET, NODE, "", "/seed"),
      proofOf(SECRET, NODE, `${Number(time) + 1}-${random}-${seal}`, "/seed"),
      proofOf(SECRET, NODE, `${time}-${random}-${"0".repeat(64)}`, "/seed"),
    ];
    for (const proof of wrong) assertEquals((await ask(target, proof)).code, 403, proof);
    assertEquals([taker.bytes, closed()], [0, 0]);
  }));

Deno.test("a proof for a seed is good once, however many nonces are asked for meanwhile", () =>
  withMaker(() => Promise.resolve(), async ({ target, closed }) => {
    const { nonce } = await ask(target, null);
    for (let i = 0; i < 200; i++) await ask(target, null);
    const proof = proofOf(SECRET, NODE, nonce, "/seed");
    assertEquals((await ask(target, proof)).code, 200);
    for (let i = 0; i < 3; i++) assertEquals((await ask(target, proof)).code, 403);
    assertEquals(closed(), 1);
  }));

Deno.test("a seed that breaks off is told as such, with the reason in the node's journal", () => {
  const breaking = async (sink: SeedSink) => {
    await sink(PIECE);
    throw new CascadeError("disk-failed", "it cannot be read");
  };
  return withMaker(breaking, async ({ target, journal, closed }) => {
    const fetching = fetchSeed(target, SECRET, null, new Taker());
    assertEquals(await assertRejectsCode(fetching, "connection-lost"), "the node broke off");
    assertEquals(closed(), 1);
    assertEquals(journal.lines.at(-1)?.fields["reason"], "it cannot be read");
  });
});

Deno.test("a client that goes away ends the making", async () => {
  const ended = Promise.withResolvers<unknown>();
  const endless = async (sink: SeedSink) => {
    try {
      for (;;) await sink(PIECE);
    } catch (error) {
      ended.resolve(error);
      throw error;
    }
  };
  await withMaker(endless, async ({ target }) => {
    const stop = new AbortController();
    const taker = new Taker();
    taker.onBytes = () => stop.abort();
    const fetching = fetchSeed({ ...target, signal: stop.signal }, SECRET, null, taker);
    await assertRejectsCode(fetching, "connection-lost");
    await ended.promise;
  });
});
