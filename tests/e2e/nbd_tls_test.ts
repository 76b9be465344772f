/** Volumes over TLS with the clients that people have: libnbd, QEMU, and `cascade seed`. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { cascade, Cluster } from "./support/cluster.ts";
import { freePorts } from "./support/ports.ts";
import { type Cleanup, e2e } from "./support/e2e.ts";
import { nbdsh } from "./support/clients.ts";
import { run } from "./support/programs.ts";
import { until } from "./support/wait.ts";

interface Served {
  readonly cluster: Cluster;
  /** `nbds://` of the volume for a client, who is `backup` unless named. */
  readonly uri: (client?: string) => string;
  readonly plain: string;
  readonly folder: (client: string) => string;
  readonly port: number;
  /** The command line for certificates. */
  readonly certs: (...args: string[]) => Promise<unknown>;
}

/** A primary that serves over TCP with TLS, and a client `backup`. */
async function served(cleanup: Cleanup, settings: Record<string, unknown>): Promise<Served> {
  const [port = 0] = freePorts(1);
  const cluster = Cluster.create(cleanup, {
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "async", transport: "tls" }],
    settings: { hq: { nbd: [`tcp://127.0.0.1:${port}`], ...settings } },
  });
  const certs = (...args: string[]) =>
    cluster.cli(["certs", ...args, "--ca-key", join(cluster.folder, "certs", "ca.key")]);
  // The certificates of the tests' own CA say nothing of hosts.
  await certs("renew", "hq");
  await certs("issue", "--client", "backup");
  await cluster.start();
  const folder = (client: string) => join(cluster.folder, "certs", "clients", client);
  const plain = `nbd://127.0.0.1:${port}/data`;
  const uri = (client = "backup") =>
    `${plain.replace("nbd:", "nbds:")}?tls-certificates=${folder(client)}`;
  return { cluster, uri, plain, folder, port, certs };
}

/** Runs Python with `h` connected over TLS. */
function overTls(uri: string, script: string): Promise<unknown> {
  const connect = `h = nbd.NBD()\nh.set_uri_allow_local_file(True)\nh.connect_uri("${uri}")\n`;
  return nbdsh(null, connect + script);
}

const CLIENTS = ["openssl", "nbdinfo", "nbdcopy", "nbdsh", "qemu-img", "qemu-io"];

e2e(
  "libnbd and QEMU use a volume over TLS, with the folder that was issued",
  CLIENTS,
  async (cleanup) => {
    const { cluster, uri, plain, folder, port } = await served(cleanup, { nbdTls: "required" });
    const info = await run("nbdinfo", [uri()]);
    assertStringIncludes(info.stdout, "newstyle-fixed with TLS, using structured packets");
    assertStringIncludes(info.stdout, "base:allocation");
    const listed = await run("nbdinfo", ["--list", uri().replace("/data?", "/?")]);
    assertStringIncludes(listed.stdout, 'export="data"');
    for (const args of [[plain], ["--list", plain.replace("/data", "/")]]) {
      const refused = await run("nbdinfo", args, { codes: [1] });
      assertStringIncludes(refused.stderr, "not supported");
    }

    const image = join(cluster.folder, "some.data");
    const bytes = new Uint8Array(8 << 20);
    for (let at = 0; at < bytes.length; at += 65_536) {
      crypto.getRandomValues(bytes.subarray(at, at + 65_536));
    }
    Deno.writeFileSync(image, bytes);
    await run("nbdcopy", ["--flush", image, uri()]);
    const creds = `tls-creds-x509,id=tls0,endpoint=client,dir=${folder("backup")}`;
    const options = `driver=nbd,host=127.0.0.1,port=${port},export=data,tls-creds=tls0`;
    const back = join(cluster.folder, "back.img");
    await run("qemu-img", [
      "convert",
      "--object",
      creds,
      "--image-opts",
      options,
      "-O",
      "raw",
      back,
    ]);
    assertEquals(Deno.readFileSync(back).subarray(0, bytes.length), bytes);
    await run("qemu-io", [
      "--object",
      creds,
      "--image-opts",
      `${options},discard=unmap`,
      ...[
        ["-c", "write -P 7 9M 64k"],
        ["-c", "discard 0 64k"],
        ["-c", "flush"],
        ["-c", "read -P 7 9M 64k"],
        ["-c", "read -P 0 0 64k"],
      ].flat(),
    ]);
    await overTls(
      uri(),
      "assert h.get_tls_negotiated()\nassert h.pread(4, 9 << 20) == b'\\x07' * 4",
    );
    await cluster.converged();
    assert(cluster.output("hq").includes("tls=backup"));

    const copy = join(cluster.folder, "copy.img");
    await cascade(["seed", "--verify", uri(), copy]);
    assertEquals(Deno.readFileSync(copy).subarray(65_536, bytes.length), bytes.subarray(65_536));
    // The other way round, from a copy that was changed.
    Deno.writeFileSync(copy, Deno.readFileSync(copy).fill(9, 0, 4096));
    await cascade(["seed", "--compare", "--verify", "--force", copy, uri()]);
  },
);

e2e(
  "plain clients are kept out, and one that asks for TLS before it chooses is not",
  ["openssl", "nbdsh"],
  async (cleanup) => {
    const { plain, cluster, folder } = await served(cleanup, { nbdTls: "required" });
    await nbdsh(
      null,
      `
h = nbd.NBD()
try:
    h.connect_uri("${plain}")
    assert False
except nbd.Error as e:
    assert "TLS" in str(e), e
h = nbd.NBD()
h.set_opt_mode(True)
h.set_uri_allow_local_file(True)
h.connect_uri("${plain}".replace("nbd:", "nbds:") + "?tls-certificates=${folder("backup")}")
assert h.get_tls_negotiated()
h.opt_abort()
`,
    );
    assertEquals(cluster.output("hq").includes("NBD client connected"), false);
  },
);

e2e(
  "whom the topology names is let in, and SIGHUP changes that",
  ["openssl", "nbdinfo"],
  async (cleanup) => {
    const { cluster, uri, certs } = await served(cleanup, {
      nbdTls: "required",
      nbdClients: ["backup"],
    });
    await certs("issue", "--client", "vm1");
    await run("nbdinfo", ["--size", uri()]);
    await run("nbdinfo", ["--size", uri("vm1")], { codes: [1] });
    const refusal = "lets no client in that is named vm1";
    await until("that is told", () => cluster.output("hq").includes(refusal));
    const text = Deno.readTextFileSync(cluster.topologyPath);
    Deno.writeTextFileSync(cluster.topologyPath, text.replace('"backup"', '"vm1"'));
    Deno.kill(cluster.process("hq").pid, "SIGHUP");
    await until("it was read", () => cluster.output("hq").includes("changed=nbdClients"));
    await run("nbdinfo", ["--size", uri("vm1")]);
    await run("nbdinfo", ["--size", uri()], { codes: [1] });
  },
);

e2e(
  "clients over TLS go on while the certificate is renewed under them",
  ["openssl", "nbdsh"],
  async (cleanup) => {
    const { cluster, uri, certs } = await served(cleanup, { nbdTls: "allowed" });
    const { stdout: before } = await run("openssl", fingerprint(cluster));
    const done = overTls(
      uri(),
      `
import os, time
h.pwrite(b"one" * 512, 0)
open("${cluster.folder}/renew", "w").close()
end = time.monotonic() + 60
while not os.path.exists("${cluster.folder}/renewed"):
    assert time.monotonic() < end
    time.sleep(0.02)
h.pwrite(b"two" * 512, 4096)
h.flush()
assert h.pread(3, 4096) == b"two"
`,
    );
    await until("it writes", () => Deno.statSync(join(cluster.folder, "renew")).isFile);
    await certs("renew", "hq", "--new-key");
    Deno.kill(cluster.process("hq").pid, "SIGHUP");
    await until("it was read", () => cluster.output("hq").includes("changed=certificates"));
    Deno.writeTextFileSync(join(cluster.folder, "renewed"), "");
    await done;
    await overTls(uri(), "assert h.pread(3, 4096) == b'two'");
    const { stdout: after } = await run("openssl", fingerprint(cluster));
    assert(before !== after);
  },
);

function fingerprint(cluster: Cluster): string[] {
  return ["x509", "-noout", "-fingerprint", "-in", join(cluster.folder, "certs", "hq.crt")];
}

e2e(
  "a node says when its certificate lacks the address that clients dial",
  ["openssl"],
  async (cleanup) => {
    const [port = 0] = freePorts(1);
    const cluster = Cluster.create(cleanup, {
      nodes: ["hq", "dr"],
      links: [{ from: "hq", to: "dr", mode: "async", transport: "tls" }],
      settings: { hq: { nbd: [`tcp://127.0.0.1:${port}`], nbdTls: "required" } },
    });
    await cluster.start("hq");
    assertStringIncludes(cluster.output("hq"), "127.0.0.1 is not among its names");
    await cluster.cli([
      "certs",
      "renew",
      "hq",
      "--ca-key",
      join(cluster.folder, "certs", "ca.key"),
    ]);
    await cluster.stop("hq");
    const before = cluster.output("hq").length;
    await cluster.start("hq");
    assert(!cluster.output("hq").slice(before).includes("is not among its names"));
  },
);
