import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { CascadeError } from "../../core/errors.ts";
import { factsOf, isIssuedBy } from "../../io/certificate.ts";
import { CertificateFolder, type Holder } from "../../io/certificate_folder.ts";
import { readIdentity } from "../../io/identity.ts";

const DAY_MS = 86_400_000;
const NOW_MS = Date.now();
const TERM = { nowMs: NOW_MS, days: 30 };
const HQ: Holder = { kind: "node", name: "hq", hosts: { dns: ["hq.example"], ips: ["10.0.0.1"] } };

async function inFolder(work: (folder: CertificateFolder, path: string) => Promise<void>) {
  const path = Deno.makeTempDirSync({ prefix: "cascade-certs-" });
  try {
    await work(new CertificateFolder("payroll", `${path}/certs`, `${path}/payroll.ca.key`), path);
  } finally {
    Deno.removeSync(path, { recursive: true });
  }
}

const modeOf = (path: string) => (Deno.statSync(path).mode ?? 0) & 0o777;

Deno.test("a CA certifies nodes and clients; keys are for their owner alone", () =>
  inFolder(async (folder) => {
    assert(await folder.ensureCa(TERM));
    const { files, certificate } = await folder.issue(HQ, TERM);
    const ca = folder.ca()!;
    assert(isIssuedBy(certificate, ca) && ca.ca && !certificate.ca);
    const facts = factsOf(certificate);
    assertEquals(facts.uris, ["cascade://payroll/hq"]);
    assertEquals(facts.dns, ["hq.payroll.cascade.internal", "hq.example"]);
    assertEquals(facts.ips, ["10.0.0.1"]);
    assert(
      facts.notBeforeMs <= NOW_MS - DAY_MS + 1000,
      "a host whose clock is behind takes it too",
    );
    assert(Math.abs(facts.notAfterMs - (NOW_MS + 30 * DAY_MS)) <= 1000);
    assertEquals([modeOf(files.key), modeOf(files.cert)], [0o600, 0o644]);
    assertEquals([modeOf(folder.caKeyPath), modeOf(folder.path)], [0o600, 0o700]);
    readIdentity({ ca: folder.caPath, cert: files.cert, key: files.key });
    const client = await folder.issue({ kind: "client", name: "backup" }, TERM);
    assertEquals(factsOf(client.certificate).uris, ["cascade://payroll/client/backup"]);
    assertEquals(modeOf(client.files.key), 0o600);
    assertEquals(Deno.readTextFileSync(client.files.ca!), Deno.readTextFileSync(folder.caPath));
  }));

Deno.test("what is there is never made anew, and a run that was cut off goes on", () =>
  inFolder(async (folder) => {
    await folder.ensureCa(TERM);
    const { files } = await folder.issue(HQ, TERM);
    const before = [files.cert, files.key, folder.caPath, folder.caKeyPath].map((path) =>
      Deno.readTextFileSync(path)
    );
    assertEquals(await folder.ensureCa(TERM), false);
    assertEquals((await folder.issue(HQ, TERM)).made, false);
    Deno.removeSync(files.cert);
    assert((await folder.issue(HQ, TERM)).made);
    Deno.removeSync(folder.caPath);
    assert(await folder.ensureCa(TERM));
    const after = [files.key, folder.caKeyPath].map((path) => Deno.readTextFileSync(path));
    assertEquals(after, [before[1], before[3]]);
    // The CA came back with its key: what it had certified is still vouched for.
    assert(isIssuedBy(folder.certificate(HQ)!, folder.ca()!));
    assertEquals([...Deno.readDirSync(folder.path)].length, 3, "nothing is left beside");
  }));

Deno.test("renewing keeps the key and the owner, and gives a new end", () =>
  inFolder(async (folder) => {
    await folder.ensureCa(TERM);
    const { files, certificate } = await folder.issue(HQ, TERM);
    // Only root makes files for others.
    const owner = Deno.uid() === 0 ? 1234 : Deno.uid();
    for (const path of [files.cert, files.key, folder.path]) Deno.chownSync(path, owner, null);
    const key = Deno.readTextFileSync(files.key);
    const renewed = await folder.renew(HQ, { nowMs: NOW_MS, days: 60 }, false);
    assertEquals(Deno.readTextFileSync(files.key), key);
    assert(renewed.certificate.validTo !== certificate.validTo);
    assertEquals(Deno.statSync(files.cert).uid, owner);
    await folder.renew(HQ, TERM, true);
    assert(Deno.readTextFileSync(files.key) !== key);
    assertEquals([Deno.statSync(files.key).uid, modeOf(files.key)], [owner, 0o600]);
    readIdentity({ ca: folder.caPath, cert: files.cert, key: files.key });
    assertEquals((await folder.issue({ ...HQ, name: "dr" }, TERM)).made, true);
    assertEquals(Deno.statSync(`${folder.path}/dr.key`).uid, owner, "as its folder");
  }));

Deno.test("a CA that is renewed vouches for what it had certified, and nothing outlives it", () =>
  inFolder(async (folder) => {
    await folder.ensureCa(TERM);
    const { certificate } = await folder.issue(HQ, TERM);
    const old = folder.ca()!;
    await folder.renewCa({ nowMs: NOW_MS + 10 * DAY_MS });
    const fresh = folder.ca()!;
    assert(isIssuedBy(certificate, fresh) && isIssuedBy(certificate, old));
    assertEquals(fresh.subject, old.subject);
    const long = await folder.renew(HQ, { nowMs: NOW_MS, days: 9999 }, false);
    assertEquals(long.certificate.validTo, fresh.validTo);
  }));

Deno.test("where the CA's key is not, nothing is signed, and it is said where to go", () =>
  inFolder(async (folder) => {
    await folder.ensureCa(TERM);
    await folder.issue(HQ, TERM);
    Deno.removeSync(folder.caKeyPath);
    folder.checkCanIssue(["hq"]);
    assertThrows(
      () => folder.checkCanIssue(["hq", "dr"]),
      CascadeError,
      "key of the CA is not here",
    );
    await assertRejects(
      () => folder.renew(HQ, TERM, false),
      CascadeError,
      "key of the CA is not here",
    );
    const other = { ...HQ, name: "dr" };
    await assertRejects(() => folder.issue(other, TERM), CascadeError, "key of the CA is not here");
  }));

Deno.test("a CA's key of another CA, or one that others may read, signs nothing", () =>
  inFolder(async (folder, path) => {
    await folder.ensureCa(TERM);
    Deno.chmodSync(folder.caKeyPath, 0o640);
    await assertRejects(() => folder.issue(HQ, TERM), CascadeError, "open to its group");
    const other = new CertificateFolder("web", `${path}/other`, `${path}/web.ca.key`);
    await other.ensureCa(TERM);
    const mixed = new CertificateFolder("payroll", folder.path, other.caKeyPath);
    await assertRejects(() => mixed.issue(HQ, TERM), CascadeError, "not that of its certificate");
  }));

Deno.test("a key that is not the certificate's is refused before any peer is", () =>
  inFolder(async (folder) => {
    await folder.ensureCa(TERM);
    const hq = await folder.issue(HQ, TERM);
    const dr = await folder.issue({ ...HQ, name: "dr" }, TERM);
    const files = { ca: folder.caPath, cert: hq.files.cert, key: dr.files.key };
    assertThrows(() => readIdentity(files), CascadeError, "is not the private key of");
    Deno.writeTextFileSync(dr.files.key, "rubbish");
    assertThrows(() => readIdentity(files), CascadeError, "no private key in PEM");
    Deno.writeTextFileSync(hq.files.cert, "rubbish");
    assertThrows(() => readIdentity(files), CascadeError, "no certificate in PEM");
  }));
