import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { CascadeError } from "../../core/errors.ts";
import { readPrivateText } from "../../io/private_file.ts";

function withFile(mode: number, work: (path: string) => void): void {
  const folder = Deno.makeTempDirSync({ prefix: "cascade-private-" });
  try {
    Deno.writeTextFileSync(`${folder}/it's a key`, "deadbeef");
    Deno.chmodSync(`${folder}/it's a key`, mode);
    work(`${folder}/it's a key`);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

const read = (path: string) => readPrivateText({ path, what: "private key", hint: "Make it" });

Deno.test("a file that its owner alone may read is read", () => {
  for (const mode of [0o600, 0o400, 0o700]) {
    withFile(mode, (path) => assertEquals(read(path), "deadbeef"));
  }
});

Deno.test("a file that others may read or write is refused with path, mode and what to type", () => {
  for (const mode of [0o644, 0o640, 0o604, 0o620, 0o601, 0o660]) {
    withFile(mode, (path) => {
      const error = assertThrows(() => read(path), CascadeError);
      assertEquals(error.code, "topology");
      assertStringIncludes(error.message, path);
      assertStringIncludes(error.message, `(mode 0${mode.toString(8)})`);
      assertStringIncludes(error.hint ?? "", "chmod 600 '");
      assertEquals(`${error.message}${error.hint}`.includes("deadbeef"), false);
    });
  }
});

Deno.test("what is not there is named, with what to do", () => {
  const error = assertThrows(() => read("/no/such/key"), CascadeError, "is not there");
  assertEquals(error.hint, "Make it");
});

Deno.test("a secret that stands where its file's name belongs is in no error", () => {
  const random = crypto.getRandomValues(new Uint8Array(32));
  for (const secret of [random.toHex(), random.toBase64(), "x".repeat(300) + "1"]) {
    for (const path of [secret, `/etc/cascade/${secret}`]) {
      const error = assertThrows(() => read(path), CascadeError, "looks like a secret itself");
      const said = `${error.message} ${error.hint} ${error.cause} ${JSON.stringify(error)}`;
      assertEquals(said.includes(secret.slice(0, 12)), false, said);
    }
  }
  for (const path of ["/etc/cascade/payrollproduction/secret", "./payroll-2026-11-30.secret"]) {
    assertStringIncludes(assertThrows(() => read(path), CascadeError).message, path);
  }
});
