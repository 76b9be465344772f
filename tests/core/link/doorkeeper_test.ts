import { assert, assertEquals } from "@std/assert";
import { addressOf, Doorkeeper, type Pass, PAUSE_MS_MAX } from "../../../core/link/doorkeeper.ts";
import { ManualClock, settle } from "../../support/manual_clock.ts";

/** Strangers by name, and what became of them. */
function makeDoor(places: number) {
  const clock = new ManualClock();
  const door = new Doorkeeper(clock, places);
  const out: string[] = [];
  const admitted: string[] = [];
  const enter = (name: string, address: string): Pass => {
    const pass = door.enter(address, () => out.push(name));
    pass.admitted.then((isWelcome) => isWelcome && admitted.push(name));
    return pass;
  };
  return { clock, door, out, admitted, enter };
}

Deno.test("where all places are taken, the oldest of the address with most of them goes", () => {
  const { door, out, enter } = makeDoor(4);
  enter("far 1", "ip:9.9.9.9");
  enter("near 1", "ip:1.1.1.1");
  enter("near 2", "ip:1.1.1.1");
  enter("far 2", "ip:8.8.8.8");
  enter("far 3", "ip:7.7.7.7");
  enter("far 4", "ip:6.6.6.6");
  assertEquals([out, door.guests], [["near 1", "far 1"], 4]);
});

Deno.test("one who speaks as a node does stays where a thousand say nothing", () => {
  const { door, out, enter } = makeDoor(64);
  const node = enter("node", "ip:1.1.1.1");
  node.heard();
  for (let i = 0; i < 1000; i++) enter(`s${i}`, i % 2 === 0 ? "ip:1.1.1.1" : `ip:2.2.2.${i % 200}`);
  assertEquals([out.includes("node"), door.guests], [false, 64]);
  node.proved();
  node.left();
  assertEquals(door.guests, 63);
});

Deno.test("an address that fails again and again waits longer and longer, and never for long", async () => {
  const { clock, door, admitted, enter } = makeDoor(64);
  const pauses: number[] = [];
  for (let i = 0; i < 14; i++) {
    pauses.push(door.pauseMs("ip:1.1.1.1"));
    const pass = enter("wrong", "ip:1.1.1.1");
    clock.advance(PAUSE_MS_MAX);
    await settle();
    pass.failed();
    pass.left();
  }
  assertEquals(pauses, [0, 0, 0, 0, 0, 100, 200, 400, 800, 1600, 3000, 3000, 3000, 3000]);
  assertEquals(admitted.length, 14);
  // One with the right proof waits as long, and makes it good for all of the address.
  const right = enter("right", "ip:1.1.1.1");
  await settle();
  assertEquals(admitted.includes("right"), false);
  clock.advance(PAUSE_MS_MAX);
  await settle();
  assertEquals(admitted.includes("right"), true);
  right.proved();
  assertEquals([door.pauseMs("ip:1.1.1.1"), door.remembered], [0, 0]);
});

Deno.test("who waits among many of its address is let in when more come", async () => {
  const { door, admitted, enter } = makeDoor(64);
  for (let i = 0; i < 20; i++) {
    const pass = enter("wrong", "ip:1.1.1.1");
    pass.failed();
    pass.left();
  }
  enter("node", "ip:1.1.1.1");
  for (let i = 0; i < 8; i++) enter(`s${i}`, "ip:1.1.1.1");
  await settle();
  assertEquals(admitted.at(-1), "node");
  assertEquals(door.guests, 9);
});

Deno.test("addresses that failed are forgotten in time, and are never many", () => {
  const { clock, door, enter } = makeDoor(8);
  const fail = (address: string, times: number) => {
    for (let i = 0; i < times; i++) {
      const pass = enter(address, address);
      pass.failed();
      pass.left();
    }
  };
  fail("ip:1.1.1.1", 20);
  assertEquals(door.pauseMs("ip:1.1.1.1"), PAUSE_MS_MAX);
  clock.advance(600_001);
  assertEquals(door.pauseMs("ip:1.1.1.1"), 0);
  fail("ip:1.1.1.1", 1);
  assertEquals(door.pauseMs("ip:1.1.1.1"), 0);
  for (let i = 0; i < 5000; i++) fail(`ip:2.2.${i >> 8}.${i & 255}`, 1);
  assert(door.remembered <= 1024);
  // Whoever may open a socket file of this host is nobody to be put off.
  fail("unix:/run/a.sock", 50);
  assertEquals(door.pauseMs("unix:/run/a.sock"), 0);
});

Deno.test("strangers are told apart by host, by the network of 64 bits, or by the path of a socket", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["tcp://10.0.0.1:4711", "ip:10.0.0.1"],
    ["tls://10.0.0.1:99", "ip:10.0.0.1"],
    ["quic://[::ffff:10.0.0.1]:7", "ip:10.0.0.1"],
    ["tls://[2001:db8::1]:7420", "ip:2001:db8:0:0::"],
    ["tls://[2001:DB8:0:0:ff::2]:7420", "ip:2001:db8:0:0::"],
    ["tls://[2001:db8:1:2:3:4:5:6]:7420", "ip:2001:db8:1:2::"],
    ["tls://[fe80::1%eth0]:7420", "ip:fe80:0:0:0::"],
    ["tcp://[::1]:1", "ip:0:0:0:0::"],
    ["unix:/run/x.sock#17", "unix:/run/x.sock"],
    ["exec", "exec"],
  ];
  for (const [remote, address] of cases) assertEquals(addressOf(remote), address);
});
