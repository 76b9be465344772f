/**
 * TCP ports for tests. Files of tests run beside each other, and a node that is down for a moment must find its port again:
 * each file has a block of ports to itself, which a listener on the first of them claims for as long as it runs.
 *
 * @module
 */

/** Below the ports that the system gives to whoever connects: such a one may be taken at any moment. */
const FIRST = 20_000;
const BLOCKS = 60;
const BLOCK_PORTS = 200;

const base = claim();
let taken = 0;

function claim(): number {
  const start = Math.floor(Math.random() * BLOCKS);
  for (let i = 0; i < BLOCKS; i++) {
    const port = FIRST + BLOCK_PORTS * ((start + i) % BLOCKS);
    const listener = listen(port);
    if (listener === null) continue;
    listener.unref();
    return port;
  }
  throw new Error(`no ports from ${FIRST} on are free`);
}

function listen(port: number): Deno.TcpListener | null {
  try {
    return Deno.listen({ hostname: "127.0.0.1", port });
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return null;
    throw error;
  }
}

/** TCP ports on loopback that were free a moment ago, and are given to nobody else before long. */
export function freePorts(count: number): number[] {
  const ports: number[] = [];
  for (let tries = 0; ports.length < count; tries++) {
    if (tries > 2 * BLOCK_PORTS) throw new Error(`no ports from ${base} on are free`);
    const port = base + 1 + taken++ % (BLOCK_PORTS - 1);
    const listener = listen(port);
    if (listener === null) continue;
    listener.close();
    ports.push(port);
  }
  return ports;
}
