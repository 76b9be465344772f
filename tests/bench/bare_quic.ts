/**
 * What QUIC streams of the runtime carry without Cascade: a process that takes bytes, and counts them.
 *
 *     deno run -A tests/bench/bare_quic.ts FOLDER NODE
 *
 * @module
 */
import { certificateDnsName } from "../../core/topology/certified_names.ts";
import { join } from "node:path";
import { Background } from "../e2e/support/programs.ts";
import { until } from "../e2e/support/wait.ts";

const CONFIG = new URL("../../deno.json", import.meta.url).pathname;
const ALPN = "bare";

/** Seconds that `bytes` take from this process to another, in chunks of a link's frames. */
export async function bareQuic(
  certs: string,
  cluster: string,
  node: string,
  bytes: number,
  chunkBytes: number,
): Promise<number> {
  const out = join(certs, `bare-${crypto.randomUUID()}.out`);
  const args = ["run", "-A", "--no-check", "--config", CONFIG, import.meta.filename!, certs, node];
  const far = new Background("bare", Deno.execPath(), args, out);
  try {
    await until("it listens", () => Promise.resolve(/\d+\n/.test(far.output())));
    const port = Number(far.output());
    const conn = await Deno.connectQuic({
      hostname: "127.0.0.1",
      port,
      serverName: certificateDnsName(cluster, node),
      caCerts: [Deno.readTextFileSync(join(certs, "ca.crt"))],
      alpnProtocols: [ALPN],
    });
    const stream = await conn.createBidirectionalStream();
    const writer = stream.writable.getWriter();
    const chunk = new Uint8Array(chunkBytes);
    const begun = performance.now();
    for (let sent = 0; sent < bytes; sent += chunkBytes) await writer.write(chunk);
    await writer.close();
    // It answers when it has all.
    await stream.readable.getReader().read();
    const seconds = (performance.now() - begun) / 1000;
    conn.close();
    return seconds;
  } finally {
    await far.kill();
  }
}

async function listen(certs: string, node: string): Promise<void> {
  const endpoint = new Deno.QuicEndpoint({ hostname: "127.0.0.1", port: 0 });
  const listener = endpoint.listen({
    cert: Deno.readTextFileSync(join(certs, `${node}.crt`)),
    key: Deno.readTextFileSync(join(certs, `${node}.key`)),
    alpnProtocols: [ALPN],
  });
  Deno.stdout.writeSync(new TextEncoder().encode(`${endpoint.addr.port}\n`));
  const conn = await listener.accept();
  const { value: stream } = await conn.incomingBidirectionalStreams.getReader().read();
  if (stream === undefined) return;
  const reader = stream.readable.getReader();
  while (!(await reader.read()).done);
  const writer = stream.writable.getWriter();
  await writer.write(new Uint8Array(1));
  await conn.closed;
}

if (import.meta.main) await listen(Deno.args[0]!, Deno.args[1]!);
