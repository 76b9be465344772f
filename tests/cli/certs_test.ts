import { X509Certificate } from "node:crypto";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { cascade, inFolder } from "./cascade.ts";

const STATE_NAMES = ["good", "due", "expired", "early", "wrong", "missing"];

const read = (path: string) => Deno.readTextFileSync(path);
const lines = async (folder: string) => {
  const { stdout, code } = await cascade(folder, ["certs", "show", "--json"]);
  const { certificates } = JSON.parse(stdout) as {
    certificates: { name: string; state: string; problem: string | null; names: string[] }[];
  };
  return { code, of: (name: string) => certificates.find((line) => line.name === name) };
};

Deno.test("init makes a CA and a certificate for each node, keeps them, and says what goes where", () =>
  inFolder(async (folder) => {
    const { code, stdout, stderr } = await cascade(folder, ["init", "--nodes", "2"]);
    assertEquals(code, 0, stderr);
    assertStringIncludes(stdout, "wrote cascade.certs/hq.crt and cascade.certs/hq.key");
    assertStringIncludes(stderr, "cascade.ca.key stays here");
    const before = ["hq.key", "hq.crt", "ca.crt"].map((name) =>
      read(`${folder}/cascade.certs/${name}`)
    );
    const again = await cascade(folder, ["init", "--nodes", "3", "--force"]);
    assertEquals(again.code, 0, again.stderr);
    assertStringIncludes(again.stdout, "kept  cascade.certs/hq.crt");
    assertStringIncludes(again.stdout, "wrote cascade.certs/metro.crt");
    const after = ["hq.key", "hq.crt", "ca.crt"].map((name) =>
      read(`${folder}/cascade.certs/${name}`)
    );
    assertEquals(after, before);
    Deno.removeSync(`${folder}/cascade.ca.key`);
    const text = read(`${folder}/topology.yaml`);
    const without = await cascade(folder, ["init", "--nodes", "4", "--force"]);
    assertEquals(without.code, 2);
    assertStringIncludes(without.stderr, "the key of the CA is not here");
    assertEquals(read(`${folder}/topology.yaml`), text, "it fails before it changes anything");
  }));

Deno.test("certificates are issued, shown and renewed by name or when they end soon", () =>
  inFolder(async (folder) => {
    assertEquals((await cascade(folder, ["init", "--nodes", "2"])).code, 0);
    const certs = `${folder}/cascade.certs`;
    Deno.removeSync(`${certs}/dr1.crt`);
    Deno.removeSync(`${certs}/dr1.key`);
    const short = ["certs", "issue", "dr1", "--days", "20", "--host", "disks.example"];
    assertEquals((await cascade(folder, short)).code, 0);
    const due = await lines(folder);
    assertEquals([due.code, due.of("dr1")?.state, due.of("hq")?.state], [1, "due", "good"]);
    const key = read(`${certs}/dr1.key`);
    const renewed = await cascade(folder, ["certs", "renew"]);
    assertMatch(renewed.stdout, /^wrote cascade\.certs\/dr1\.crt, good until \d{4}-\d\d-\d\d\n$/);
    const good = await lines(folder);
    assertEquals([good.code, good.of("dr1")?.state], [0, "good"]);
    assert(good.of("dr1")?.names.includes("disks.example"), "names of --host stay");
    assertEquals(read(`${certs}/dr1.key`), key);
    assertStringIncludes((await cascade(folder, ["certs", "renew"])).stdout, "nothing to renew");
    const table = await cascade(folder, ["certs", "show"]);
    assertMatch(table.stdout, /^hq +good +\d{4}-\d\d-\d\d +729d +here /m);
  }));

Deno.test("what is wrong with certificates is shown, and what is not here is not", () =>
  inFolder(async (folder) => {
    assertEquals((await cascade(folder, ["init"])).code, 0);
    const certs = `${folder}/cascade.certs`;
    Deno.chmodSync(`${certs}/hq.key`, 0o644);
    Deno.copyFileSync(`${certs}/dr2.crt`, `${certs}/metro.crt`);
    for (const name of ["dr1.crt", "dr1.key"]) Deno.removeSync(`${certs}/${name}`);
    const { code, of } = await lines(folder);
    assertEquals(code, 1);
    assertEquals(["hq", "metro", "dr1", "dr2"].map((name) => of(name)?.state), [
      "wrong",
      "wrong",
      "missing",
      "good",
    ]);
    assertStringIncludes(of("hq")?.problem ?? "", "chmod 600");
    assertStringIncludes(of("metro")?.problem ?? "", "it is for dr2, not for metro");
  }));

Deno.test("the manual names every field of the document, and every state", () =>
  inFolder(async (folder) => {
    assertEquals((await cascade(folder, ["init", "--nodes", "2"])).code, 0);
    const { stdout } = await cascade(folder, ["certs", "show", "--json"]);
    const { certificates } = JSON.parse(stdout) as { certificates: Record<string, unknown>[] };
    const manual = read(new URL("../../docs/certificates.md", import.meta.url).pathname);
    for (const field of Object.keys(certificates[0]!)) assertStringIncludes(manual, `\`${field}\``);
    for (const state of STATE_NAMES) assertStringIncludes(manual, `\`${state}\``);
  }));

Deno.test("after the cascade was renamed it is said what to renew, and nothing of the old name stays", () =>
  inFolder(async (folder) => {
    assertEquals((await cascade(folder, ["init", "--nodes", "2"])).code, 0);
    const text = read(`${folder}/topology.yaml`);
    Deno.writeTextFileSync(
      `${folder}/topology.yaml`,
      text.replace("name: cascade", "name: payroll"),
    );
    const kept = await cascade(folder, ["certs", "issue"]);
    assertStringIncludes(kept.stderr, "is for cascade://cascade/hq: cascade certs renew hq");
    assertEquals((await lines(folder)).of("hq")?.state, "wrong");
    const renew = ["certs", "renew", "--all", "--ca-key", "cascade.ca.key"];
    assertEquals((await cascade(folder, renew)).code, 0);
    const { code, of } = await lines(folder);
    assertEquals([code, of("hq")?.names[0]], [0, "cascade://payroll/hq"]);
    const pem = read(`${folder}/cascade.certs/hq.crt`);
    assertEquals((new X509Certificate(pem).subjectAltName ?? "").includes("hq.cascade."), false);
  }));

Deno.test("a name that is none, a topology without certs, an expired CA: each says what to do", () =>
  inFolder(async (folder) => {
    assertEquals((await cascade(folder, ["init", "--nodes", "2"])).code, 0);
    const misspelt = await cascade(folder, ["certs", "issue", "dr"]);
    assertEquals(misspelt.code, 2);
    assertStringIncludes(misspelt.stderr, 'Did you mean "dr1"?');
    const client = await cascade(folder, ["certs", "issue", "--client", "../x"]);
    assertEquals(client.code, 2);
    const nobody = await cascade(folder, ["certs", "renew", "--client", "backup"]);
    assertStringIncludes(nobody.stderr, "cascade certs issue --client backup");
    await cascade(folder, ["certs", "issue", "--client", "backup"]);
    const asNode = await cascade(folder, ["certs", "renew", "backup"]);
    assertEquals(asNode.code, 2);
    assertStringIncludes(asNode.stderr, "Name it with --client backup");
    const renewed = await cascade(folder, ["certs", "renew", "--client", "backup"]);
    assertEquals(renewed.stderr.includes("have the"), false, renewed.stderr);
    const text = read(`${folder}/topology.yaml`);
    Deno.writeTextFileSync(
      `${folder}/topology.yaml`,
      text.replace(/^certs:.*$/m, "").replaceAll("tls://", "tcp://"),
    );
    const without = await cascade(folder, ["certs", "issue"]);
    assertEquals(without.code, 2);
    assertStringIncludes(without.stderr, "certs: ./certs");
  }));
