import { assertEquals, assertMatch } from "@std/assert";
import { symlinkSync } from "node:fs";
import { SOCKET_PATH_BYTES_MAX } from "../../core/topology/address.ts";
import { isCascadeError } from "../../core/errors.ts";
import { dialUnix, listenUnix } from "../../io/unix.ts";
import { withFolder } from "./helpers.ts";

async function refusal(path: string): Promise<string> {
  try {
    (await listenUnix(path, () => {}, null)).close();
  } catch (error) {
    if (isCascadeError(error)) return `${error.code}: ${error.message}`;
    throw error;
  }
  return "it listens";
}

Deno.test("a socket takes the place of nothing but a stale one, and wants its folder", () =>
  withFolder(async (folder) => {
    Deno.writeTextFileSync(`${folder}/file`, "kept");
    Deno.mkdirSync(`${folder}/sub`);
    symlinkSync(`${folder}/elsewhere`, `${folder}/dangling`);
    symlinkSync(`${folder}/sub`, `${folder}/link`);
    for (const name of ["file", "sub", "dangling", "link"]) {
      const found = await refusal(`${folder}/${name}`);
      assertMatch(found, /^address-in-use: there is a file of another kind/, name);
    }
    for (const name of ["none/a", "file/a", "none/none/a"]) {
      assertMatch(await refusal(`${folder}/${name}`), /^bad-address: there is no folder \//, name);
    }
    assertEquals(Deno.readTextFileSync(`${folder}/file`), "kept");
    assertEquals([...Deno.readDirSync(folder)].length, 4);
  }));

Deno.test("a path of the greatest length will do, however short the name in it", () =>
  withFolder(async (folder) => {
    for (const name of ["a", "ab", "abc", "a.sock"]) {
      const rest = SOCKET_PATH_BYTES_MAX - folder.length - name.length - 2;
      const deep = `${folder}/${"x".repeat(rest)}`;
      Deno.mkdirSync(deep);
      const path = `${deep}/${name}`;
      assertEquals(path.length, SOCKET_PATH_BYTES_MAX);
      const listener = await listenUnix(path, (connection) => connection.close(), null);
      (await dialUnix(path)).close();
      listener.close();
      assertEquals([...Deno.readDirSync(deep)].length, 0);
      Deno.removeSync(deep);
    }
  }));
