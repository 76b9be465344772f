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
