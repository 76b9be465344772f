/** Certificates of nodes that run: what is refused, what is told, and new ones with no connection lost. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { connect, type TLSSocket } from "node:tls";
import { join } from "node:path";
import { ALPN } from "../../io/tls.ts";
import { CertificateFolder } from "../../io/certificate_folder.ts";
import { Cluster } from "./support/cluster.ts";
import { e2e } from "./support/e2e.ts";
import { until } from "./support/wait.ts";

const SPEC = {
  nodes: ["hq", "dr"],
  links: [{ from: "hq", to: "dr", mode: "async", transport: "tls" }],
} as const;

/** The fingerprint of the certificate that a node shows to whoever dials it now, as the node `as`. */
async function shownBy(cluster: Cluster, as: string): Promise<string> {
  const certs = join(cluster.folder, "certs");
  const read = (name: string) => Deno.readTextFileSync(join(certs, name));
  const { nodes } = JSON.parse(Deno.readTextFileSync(cluster.topologyPath)) as {
    nodes: Record<string, { listen: string[] }>;
  };
  const port = Number(nodes["hq"]!.listen[0]!.split(":").at(-1));
  const identity = { ca: read("ca.crt"), cert: read(`${as}.crt`), key: read(`${as}.key`) };
  const socket = await new Promise<TLSSocket>((done, fail) => {
    const options = { host: "127.0.0.1", port, ...identity, ALPNProtocols: [ALPN] };
    const made = connect({ ...options, checkServerIdentity: () => undefined }, () => done(made));
    made.once("error", fail);
  });
  try {
    return socket.getPeerCertificate().fingerprint256;
  } finally {
    socket.destroy();
  }
}

e2e(
  "SIGHUP takes new certificates, and the link that is there goes on",
  ["openssl"],
  async (cleanup) => {
    const cluster = Cluster.create(cleanup, SPEC);
    await cluster.start();
    await until("the link is up", async () => (await cluster.link("hq-dr")).state === "streaming");
    const { connectedSince } = await cluster.link("hq-dr");
    const [before] = (await cluster.status("hq")).certificates;
    assertEquals(before?.fingerprint, await shownBy(cluster, "dr"));

    const caKey = join(cluster.folder, "certs", "ca.key");
    const renew = ["certs", "renew", "--all", "--new-key", "--ca-key", caKey];
    await cluster.cli(renew);
    assertEquals(await shownBy(cluster, "dr"), before?.fingerprint, "not before it is told to");
    for (const node of ["hq", "dr"]) Deno.kill(cluster.process(node).pid, "SIGHUP");
    for (const node of ["hq", "dr"]) {
      await until(`${node} took them`, () => cluster.output(node).includes("changed=certificates"));
    }
    const [after] = (await cluster.status("hq")).certificates;
    assert(after?.fingerprint !== before?.fingerprint);
    assertEquals(await shownBy(cluster, "dr"), after?.fingerprint);
    assertEquals((await cluster.link("hq-dr")).connectedSince, connectedSince);

    // Half of a pair is no pair: what was there goes on, and the journal says why.
    const certs = join(cluster.folder, "certs");
    const cert = Deno.readTextFileSync(join(certs, "hq.crt"));
    Deno.copyFileSync(join(certs, "dr.crt"), join(certs, "hq.crt"));
    Deno.kill(cluster.process("hq").pid, "SIGHUP");
    await until("it tells", () => cluster.output("hq").includes("certificates were not reloaded"));
    assertStringIncludes(cluster.output("hq"), "is not the private key of");
    assertEquals(await shownBy(cluster, "dr"), after?.fingerprint);
    assertEquals((await cluster.link("hq-dr")).connectedSince, connectedSince);
    Deno.writeTextFileSync(join(certs, "hq.crt"), cert);

    await cluster.kill("dr");
    await cluster.start("dr");
    await until("it is back", async () => (await cluster.link("hq-dr")).state === "streaming");
  },
);

e2e(
  "a node whose key others may read does not start, and says what to type",
  ["openssl"],
  async (cleanup) => {
    const cluster = Cluster.create(cleanup, SPEC);
    const key = join(cluster.folder, "certs", "hq.key");
    Deno.chmodSync(key, 0o644);
    const refused = await cluster.cli(["serve", "--node", "hq"], { codes: [2] });
    assertStringIncludes(refused.stderr, `chmod 600 ${key}`);
    Deno.chmodSync(key, 0o600);
    await cluster.start("hq");
  },
);

e2e(
  "certificates that end soon are in the journal, the status and the metrics",
  ["openssl"],
  async (cleanup) => {
    const cluster = Cluster.create(cleanup, SPEC);
    const caKey = join(cluster.folder, "certs", "ca.key");
    await cluster.cli(["certs", "renew", "hq", "--days", "5", "--ca-key", caKey]);
    await cluster.start();
    assertStringIncludes(cluster.output("hq"), "a certificate ends soon certificate=node");
    await until("the link is up", async () => (await cluster.link("hq-dr")).state === "streaming");
    const { stdout } = await cluster.cli(["status"], { codes: [1] });
    assertStringIncludes(stdout, "hq: its certificate ends in 4 days");
    const answer = await fetch(`${cluster.admin("hq")}/metrics`);
    const metrics = await answer.text();
    const left = /^cascade_certificate_remaining_seconds\{.*certificate="node"\} (\S+)$/m.exec(
      metrics,
    );
    assert(Number(left?.[1]) > 4 * 86_400 && Number(left?.[1]) <= 5 * 86_400, left?.[0]);
  },
);

e2e("an expired certificate is told of at both ends, and renewing it brings the link back", [
  "openssl",
], async (cleanup) => {
  const cluster = Cluster.create(cleanup, SPEC);
  const certs = join(cluster.folder, "certs");
  const caKey = join(certs, "ca.key");
  const past = { nowMs: Date.now() - 40 * 86_400_000, days: 30 };
  const dr = { kind: "node", name: "dr", hosts: { dns: [], ips: [] } } as const;
  await new CertificateFolder("e2e", certs, caKey).renew(dr, past, false);
  await cluster.start();
  await until("hq tells of it", () => cluster.output("hq").includes("CERT_HAS_EXPIRED"));
  const { stdout } = await cluster.cli(["status"], { codes: [1] });
  assertStringIncludes(stdout, "dr: its certificate ended on");
  assert((await cluster.link("hq-dr")).state !== "streaming");
  await cluster.cli(["certs", "renew", "--ca-key", caKey]);
  Deno.kill(cluster.process("dr").pid, "SIGHUP");
  await until("the link is up", async () => (await cluster.link("hq-dr")).state === "streaming");
});
