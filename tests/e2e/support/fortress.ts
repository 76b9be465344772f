/**
 * A cascade that is attacked: hq is reached in every way there is, and after each attack everything is as it was.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "node:path";
import { Cluster } from "./cluster.ts";
import { freePorts } from "./ports.ts";
import type { Cleanup } from "./e2e.ts";
import { NbdClient } from "./nbd_client.ts";
import { memoryOf } from "./programs.ts";
import { pause, until } from "./wait.ts";

const MIB = 1024 * 1024;

/** What clients write: to be found nowhere but in volumes and logs of records. */
export const MARKER = "what-clients-write-is-nobody-elses-business";

/** The secret of every cluster of these tests. */
export const SECRET = "1f".repeat(32);

/** Lines that an attack may cause at one node: one at once, and one now and then with a count. */
const LINES_MAX = 14;

/** What a node may hold more when an attack is over. */
const MORE_BYTES_MAX = 48 * MIB;

/** Where hq is reached. */
export interface Doors {
  readonly tcp: number;
  readonly tls: number;
  readonly quic: number;
  readonly nbd: number;
  readonly admin: number;
}

/** See the module's text. */
export class Fortress {
  readonly cluster: Cluster;
  readonly doors: Doors;
  readonly #client: NbdClient;
  readonly #restedBytes = new Map<string, number>();
  #count = 0;

  private constructor(cluster: Cluster, doors: Doors, client: NbdClient) {
    this.cluster = cluster;
    this.doors = doors;
    this.#client = client;
  }

  static async build(cleanup: Cleanup): Promise<Fortress> {
    const [tcp, tls, nbd] = freePorts(3) as [number, number, number];
    const folder = cleanup.folder;
    const cluster = Cluster.create(cleanup, {
      volumes: { data: "64MiB" },
      nodes: ["hq", "metro", "dr"],
      links: [
        { from: "hq", to: "metro", mode: "sync", timeout: "10s", transport: "tls" },
        { from: "hq", to: "dr", mode: "async" },
      ],
      settings: {
        hq: {
          listen: [
            `tcp://127.0.0.1:${tcp}`,
            `tls://127.0.0.1:${tls}`,
            `quic://127.0.0.1:${tls}`,
          ],
          nbd: [`unix:${join(folder, "hq.nbd")}`, `tcp://127.0.0.1:${nbd}`],
        },
      },
    });
    await cluster.start();
    const client = await NbdClient.connect(cluster.socket("hq"));
    cleanup.defer(() => client.close());
    const admin = Number(new URL(cluster.admin("hq")).port);
    const fortress = new Fortress(cluster, { tcp, tls, quic: tls, nbd, admin }, client);
    // Code that was never run, and buffers that grow once, are no growth.
    for (let i = 0; i < 8; i++) await fortress.serves();
    return fortress;
  }

  /** A client's write and flush are acknowledged, and come to all nodes. */
  async serves(): Promise<void> {
    const text = new TextEncoder().encode(MARKER.padEnd(64, "."));
    const bytes = new Uint8Array(256 * 1024);
    for (let at = 0; at < bytes.length; at += 64) bytes.set(text, at);
    bytes[0] = this.#count;
    await this.#client.write((this.#count++ % 128) * bytes.length, bytes);
    await this.#client.flush();
    await this.cluster.converged();
  }

  /** Attacks, and sees that nothing came of it but lines that match. */
  async withstands(
    attack: () => Promise<void>,
    told: RegExp | null,
    { linesMax = LINES_MAX, moreBytesMax = MORE_BYTES_MAX } = {},
  ): Promise<void> {
    const { cluster } = this;
    for (const node of cluster.spec.nodes) {
      if (!this.#restedBytes.has(node)) this.#restedBytes.set(node, await this.#rested(node));
    }
    const before = new Map(cluster.spec.nodes.map((node) => [node, cluster.output(node).length]));
    await attack();
    await this.serves();
    if (told !== null) {
      const said = () => cluster.output("hq").slice(before.get("hq"));
      // What goes on is told less and less often.
      await until(`hq tells of it: ${told}`, () => told.test(said()), { deadlineMs: 75_000 });
    }
    for (const node of cluster.spec.nodes) {
      const said = cluster.output(node).slice(before.get(node)).split("\n").filter((l) => l !== "");
      assert(said.length <= linesMax, `${node} says too much:\n${said.slice(0, 30).join("\n")}`);
      assertEquals((await cluster.status(node)).state, "running");
      const rested = this.#restedBytes.get(node) ?? 0;
      await until(`${node} holds no more memory than before`, async () => {
        // What is garbage goes when something is done.
        await this.serves();
        const { residentBytes } = memoryOf(cluster.process(node).pid);
        return residentBytes < rested + moreBytesMax;
      }, { deadlineMs: 60_000 });
    }
    await this.keepsSecrets();
  }

  async #rested(node: string): Promise<number> {
    let least = Infinity;
    for (let i = 0; i < 5; i++) {
      least = Math.min(least, memoryOf(this.cluster.process(node).pid).residentBytes);
      await pause(50);
    }
    return least;
  }

  /** Neither the secret, nor a key, nor what clients wrote is where anybody may look. */
  async keepsSecrets(): Promise<void> {
    const { cluster } = this;
    const keys = cluster.spec.nodes.map((node) => {
      const pem = Deno.readTextFileSync(join(cluster.folder, "certs", `${node}.key`));
      return pem.split("\n")[1] ?? "";
    });
    const raw = String.fromCharCode(...new Array(32).fill(0x1f));
    const places: [string, string][] = [];
    for (const node of cluster.spec.nodes) {
      places.push([`what ${node} printed`, cluster.output(node)]);
      places.push([`the status of ${node}`, JSON.stringify(await cluster.status(node))]);
      const metrics = await (await fetch(`${cluster.admin(node)}/metrics`)).text();
      places.push([`the metrics of ${node}`, metrics]);
      const { pid } = cluster.process(node);
      places.push([`the command line of ${node}`, Deno.readTextFileSync(`/proc/${pid}/cmdline`)]);
      for (const entry of Deno.readDirSync(cluster.dir(node))) {
        if (!entry.isFile) continue;
        const bytes = Deno.readFileSync(join(cluster.dir(node), entry.name));
        places.push([`${node}/${entry.name}`, new TextDecoder("latin1").decode(bytes)]);
      }
    }
    for (const [place, text] of places) {
      for (const secret of [SECRET, raw, MARKER, ...keys]) {
        assert(
          secret.length > 16 && !text.includes(secret),
          `${place} holds ${secret.slice(0, 8)}...`,
        );
      }
    }
    assertMatch(places[0]?.[1] ?? "", /\w/);
  }
}

/** A connection of an attacker. */
export async function connect(port: number): Promise<Deno.TcpConn> {
  for (let turn = 0;; turn++) {
    try {
      return await Deno.connect({ hostname: "127.0.0.1", port });
    } catch (error) {
      if (turn === 50) throw error;
      await pause(20);
    }
  }
}

/** Sends, as far as the other end takes it. */
export async function send(connection: Deno.Conn, bytes: Uint8Array): Promise<boolean> {
  try {
    for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
    return true;
  } catch {
    return false;
  }
}

/** All that comes until the other end hangs up, or (false) it does not within the time. */
export async function hungUp(connection: Deno.Conn, deadlineMs = 20_000): Promise<boolean> {
  const into = new Uint8Array(64 * 1024);
  const over = (async () => {
    try {
      while (await connection.read(into) !== null);
    } catch {
      // It broke the connection, which is as good.
    }
    return true;
  })();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((tell) => timer = setTimeout(() => tell(false), deadlineMs));
  try {
    return await Promise.race([over, late]);
  } finally {
    clearTimeout(timer);
    close(connection);
  }
}

export function close(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch {
    // It was closed already.
  }
}
