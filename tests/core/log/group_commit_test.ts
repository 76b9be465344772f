import { assertEquals } from "@std/assert";
import { GroupCommit } from "../../../core/log/group_commit.ts";

/** A flush that ends when the test says so. */
class Flushes {
  begun = 0;
  readonly commit = new GroupCommit(() => {
    this.begun++;
    return new Promise<void>((end) => this.#ends.push(end));
  });
  readonly #ends: (() => void)[] = [];

  async end(): Promise<void> {
    this.#ends.shift()?.();
    await turn();
  }
}

function turn(): Promise<void> {
  return new Promise((go) => setTimeout(go, 0));
}

Deno.test("a flush begins at once, and all requests during it are served by one more", async () => {
  const flushes = new Flushes();
  for (let i = 0; i < 5; i++) flushes.commit.request();
  assertEquals(flushes.begun, 1);
  await flushes.end();
  assertEquals(flushes.begun, 2);
  await flushes.end();
  assertEquals(flushes.begun, 2);
});

Deno.test("a request is served however many microtasks after the end of a flush it comes", async () => {
  for (let distance = 0; distance < 10; distance++) {
    const flushes = new Flushes();
    flushes.commit.request();
    const ended = flushes.end();
    let left = distance;
    const ask = () => left-- > 0 ? queueMicrotask(ask) : flushes.commit.request();
    ask();
    await ended;
    assertEquals(flushes.begun, 2, `distance ${distance}`);
  }
});

Deno.test("work alone waits for the flush in flight, and comes before one that is wanted", async () => {
  const flushes = new Flushes();
  const order: string[] = [];
  flushes.commit.request();
  flushes.commit.request();
  let endWork = () => {};
  const works = [1, 2].map((number) =>
    flushes.commit.alone(() => {
      order.push(`work ${number}, ${flushes.begun} flushes begun`);
      return new Promise<void>((end) => endWork = end);
    })
  );
  await turn();
  assertEquals(order, []);
  await flushes.end();
  flushes.commit.request();
  endWork();
  await works[0];
  await turn();
  endWork();
  await works[1];
  await turn();
  assertEquals(order, ["work 1, 1 flushes begun", "work 2, 1 flushes begun"]);
  assertEquals(flushes.begun, 2);
});

Deno.test("work alone that fails tells its caller, and flushes go on", async () => {
  const flushes = new Flushes();
  let told = "";
  await flushes.commit.alone(() => Promise.reject(new Error("no"))).catch((error) => {
    told = error.message;
  });
  assertEquals(told, "no");
  flushes.commit.request();
  assertEquals(flushes.begun, 1);
});
