/**
 * One writable NBD export with nothing behind it but its own node: what tests of clients use.
 *
 * With CASCADE_E2E_SERVER=nbdkit the same tests run against nbdkit, which tells a wrong test from
 * a wrong server.
 *
 * @module
 */
import { join } from "node:path";
import { Cluster } from "./cluster.ts";
import type { Cleanup } from "./e2e.ts";
import { Background } from "./programs.ts";
import { until } from "./wait.ts";

/** An export and the file behind it. */
export interface Export {
  readonly uri: string;
  readonly socket: string;
  readonly name: string;
  readonly image: string;
  readonly sizeBytes: number;
  /** Waits until the image holds all that was written. */
  settle(): Promise<void>;
}

/** Whether the tests run against nbdkit. */
export const isStandIn = Deno.env.get("CASCADE_E2E_SERVER") === "nbdkit";

/** Starts an export of `mebibytes` MiB that ends with the test. */
export async function startExport(cleanup: Cleanup, mebibytes = 64): Promise<Export> {
  const sizeBytes = mebibytes * 1024 * 1024;
  if (isStandIn) return await startStandIn(cleanup, sizeBytes);
  const cluster = Cluster.create(cleanup, {
    volumes: { data: `${mebibytes}MiB` },
    nodes: ["hq"],
    links: [],
  });
  await cluster.start();
  return {
    uri: cluster.uri(),
    socket: cluster.socket("hq"),
    name: "data",
    image: cluster.image("hq"),
    sizeBytes,
    settle: () => cluster.converged(),
  };
}

async function startStandIn(cleanup: Cleanup, sizeBytes: number): Promise<Export> {
  const image = join(cleanup.folder, "image");
  const socket = join(cleanup.folder, "socket");
  Deno.writeFileSync(image, new Uint8Array(0));
  Deno.truncateSync(image, sizeBytes);
  const server = new Background(
    "nbdkit",
    "nbdkit",
    ["-f", "-U", socket, "-e", "data", "file", image],
    join(cleanup.folder, "nbdkit.out"),
  );
  cleanup.defer(() => server.kill());
  await until("nbdkit listens", () => Deno.statSync(socket).isSocket);
  return {
    uri: `nbd+unix:///data?socket=${socket}`,
    socket,
    name: "data",
    image,
    sizeBytes,
    settle: () => Promise.resolve(),
  };
}
