import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { type Epoch, History, NO_EPOCH } from "../../core/history.ts";
import { assertCode, idOf, makeEpoch } from "../support/small.ts";

/** A chain of reigns as gaps: [growth of the number, growth of the LSN]. */
const gaps = fc.array(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 0, max: 5 })), {
  maxLength: 6,
});

function chain(steps: readonly (readonly [number, number])[], name: string, after?: Epoch) {
  let number = after?.number ?? 0;
  let lsn = after?.firstLsn ?? 0;
  return steps.map(([up, on], index): Epoch => {
    number += up;
    lsn += on;
    return makeEpoch(number, lsn, `${name}${index}`);
  });
}

/** The same reigns as one id a byte: what is at each LSN below `end`. */
function paint(epochs: readonly Epoch[], end: number): string[] {
  const cells = new Array<string>(end).fill(NO_EPOCH);
  for (const epoch of epochs) cells.fill(epoch.id, Math.min(epoch.firstLsn, end));
  return cells;
}

Deno.test("a history refuses numbers or first LSNs that go back", () => {
  const history = new History([makeEpoch(2, 10)]);
  assertCode(() => history.add(makeEpoch(2, 20, "x")), "bug");
  assertCode(() => history.add(makeEpoch(3, 9)), "bug");
  history.add(makeEpoch(3, 10));
  assertEquals(history.lastNumber, 3);
});

Deno.test("an empty history has no epoch and the number 0", () => {
  const history = new History();
  assertEquals([history.last, history.lastId, history.lastNumber], [null, NO_EPOCH, 0]);
  assertEquals(history.fork([]), { lsn: Infinity, mine: null, theirs: null });
});

Deno.test("idAt tells the reign of the byte before a position", () => {
  fc.assert(fc.property(gaps, fc.integer({ min: 0, max: 40 }), (steps, lsn) => {
    const epochs = chain(steps, "m");
    const cells = paint(epochs, 41);
    assertEquals(new History(epochs).idAt(lsn), lsn === 0 ? NO_EPOCH : cells[lsn - 1]);
  }));
});

Deno.test("cutting back forgets exactly the reigns that began at or after the cut", () => {
  fc.assert(fc.property(gaps, fc.integer({ min: 0, max: 40 }), (steps, lsn) => {
    const epochs = chain(steps, "m");
    const history = new History(epochs);
    history.cutBack(lsn);
    assertEquals(history.epochs, epochs.filter((epoch) => epoch.firstLsn < lsn));
  }));
});

Deno.test("a history holds a position of a reign up to where the next one begins", () => {
  fc.assert(fc.property(gaps, fc.nat(10), fc.nat(40), fc.nat(40), (steps, which, lsn, end) => {
    const epochs = chain(steps, "m");
    const epoch = epochs[which];
    if (epoch === undefined) return;
    const next = epochs[which + 1];
    const expected = lsn <= end && (next === undefined || lsn <= next.firstLsn);
    assertEquals(new History(epochs).holds({ epochId: epoch.id, lsn }, end), expected);
  }));
});

Deno.test("a history holds no position of a reign that it does not know", () => {
  const history = new History([makeEpoch(1, 0)]);
  assert(!history.holds({ epochId: idOf("other"), lsn: 0 }, 100));
  assert(!history.holds({ epochId: NO_EPOCH, lsn: 16 }, 100));
  assert(history.holds({ epochId: NO_EPOCH, lsn: 0 }, 100));
});

Deno.test("two histories fork where the bytes that they describe first differ", () => {
  fc.assert(fc.property(gaps, gaps, gaps, (common, mine, theirs) => {
    const shared = chain(common, "c");
    const left = [...shared, ...chain(mine, "l", shared.at(-1))];
    const right = [...shared, ...chain(theirs, "r", shared.at(-1))];
    const fork = new History(left).fork(right);
    const [a, b] = [paint(left, 64), paint(right, 64)];
    const first = a.findIndex((id, index) => id !== b[index]);
    // Reigns without a byte of their own are not seen in the bytes: then the fork may come earlier.
    if (first < 0) assert(fork.lsn === Infinity || fork.lsn >= (shared.at(-1)?.firstLsn ?? 0));
    else assert(fork.lsn <= first, `fork ${fork.lsn}, first difference ${first}`);
    if (fork.lsn !== Infinity) {
      assertEquals(a.slice(0, fork.lsn), b.slice(0, fork.lsn));
      assertEquals([fork.mine, fork.theirs], [
        left[shared.length] ?? null,
        right[shared.length] ?? null,
      ]);
    }
  }));
});

Deno.test("a fork is the same from both sides", () => {
  fc.assert(fc.property(gaps, gaps, gaps, (common, mine, theirs) => {
    const shared = chain(common, "c");
    const left = [...shared, ...chain(mine, "l", shared.at(-1))];
    const right = [...shared, ...chain(theirs, "r", shared.at(-1))];
    const [here, there] = [new History(left).fork(right), new History(right).fork(left)];
    assertEquals([here.lsn, here.mine, here.theirs], [there.lsn, there.theirs, there.mine]);
  }));
});

Deno.test("equal numbers with different ids fork", () => {
  const fork = new History([makeEpoch(1, 0), makeEpoch(2, 50, "x")]).fork([
    makeEpoch(1, 0),
    makeEpoch(2, 70, "y"),
  ]);
  assertEquals([fork.lsn, fork.mine?.id, fork.theirs?.id], [50, idOf("x"), idOf("y")]);
});
