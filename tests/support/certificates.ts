/**
 * A CA and certificates of nodes for tests, made by `openssl`.
 *
 * @module
 */
import { certificateDnsName, certificateUri } from "../../core/topology/certified_names.ts";
import type { TlsIdentity } from "../../io/identity.ts";

/** A CA in a folder: `ca.crt` and `ca.key`; made unless it is there. */
export class TestCa {
  readonly folder: string;

  constructor(folder: string, isThere = false) {
    this.folder = folder;
    if (isThere) return;
    Deno.mkdirSync(folder, { recursive: true });
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    const file = (name: string) => `${folder}/${name}`;
    openssl("req", "-x509", ...key, "-keyout", file("ca.key"), "-out", file("ca.crt"), ...[
      "-subj",
      "/CN=a test",
      "-days",
      "60",
    ]);
  }

  /** Makes `NODE.crt` and `NODE.key`, with other names in it if some are given. */
  issue(cluster: string, node: string, names?: string, days = 60): TlsIdentity {
    const file = (name: string) => `${this.folder}/${name}`;
    const all = names ??
      `URI:${certificateUri(cluster, node)},DNS:${certificateDnsName(cluster, node)}`;
    Deno.writeTextFileSync(file(`${node}.ext`), `subjectAltName=${all}\n`);
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    const [csr, crt] = [file(`${node}.csr`), file(`${node}.crt`)];
    openssl("req", ...key, "-keyout", file(`${node}.key`), "-out", csr, "-subj", `/CN=${node}`);
    const ca = ["-CA", file("ca.crt"), "-CAkey", file("ca.key"), "-CAcreateserial"];
    const more = ["-days", String(days), "-extfile", file(`${node}.ext`)];
    openssl("x509", "-req", "-in", csr, "-out", crt, ...ca, ...more);
    Deno.chmodSync(file(`${node}.key`), 0o600);
    return this.identity(node);
  }

  identity(node: string): TlsIdentity {
    const read = (name: string) => Deno.readTextFileSync(`${this.folder}/${name}`);
    return {
      caPem: read("ca.crt"),
      certPem: read(`${node}.crt`),
      keyPem: read(`${node}.key`),
    };
  }
}

function openssl(...args: string[]): void {
  const { success, stderr } = new Deno.Command("openssl", { args, stdin: "null" }).outputSync();
  if (!success) throw new Error(`openssl ${args[0]}: ${new TextDecoder().decode(stderr)}`);
}
