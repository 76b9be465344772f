import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { stampFolder, stampOf } from "../../build/stamp.ts";

const TIME = "2026-01-31T12:00:00Z";
const SECONDS = String(Date.parse(TIME) / 1000);

function withFolder(test: (folder: string) => void): void {
  const folder = Deno.makeTempDirSync({ prefix: "cascade-stamp-" });
  try {
    test(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

function git(folder: string, ...args: string[]): void {
  const name = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
  const env = { GIT_AUTHOR_DATE: `${SECONDS} +0500`, GIT_COMMITTER_DATE: `${SECONDS} +0500` };
  new Deno.Command("git", { args: [...name, ...args], cwd: folder, env }).outputSync();
}

Deno.test("the stamp is the commit and its time, and says when files differ from it", () =>
  withFolder((folder) => {
    git(folder, "init", "-q");
    Deno.writeTextFileSync(`${folder}/a`, "a");
    git(folder, "add", "a");
    git(folder, "commit", "-q", "-m", "a");
    const clean = stampOf(folder, "");
    assertMatch(clean, /^[0-9a-f]{10} 2026-01-31T12:00:00Z$/);
    assertEquals(stampOf(folder, "0"), clean.replace(TIME, "1970-01-01T00:00:00Z"));
    Deno.writeTextFileSync(`${folder}/b`, "b");
    assertEquals(stampOf(folder, ""), clean.replace(" ", "-dirty "));
  }));

Deno.test("without a repository the time has to be given", () =>
  withFolder((folder) => {
    assertEquals(stampOf(folder, SECONDS), `unknown ${TIME}`);
    assertThrows(() => stampOf(folder, ""), Error, "set SOURCE_DATE_EPOCH");
    assertThrows(() => stampOf(folder, "today"), Error, "expected seconds since 1970");
  }));

Deno.test("every place for the stamp gets it, and a bundle without one is refused", () =>
  withFolder((folder) => {
    assertThrows(() => stampFolder(folder, "x"), Error, "has a place for the stamp");
    Deno.writeTextFileSync(`${folder}/a.js`, 'f("@cascade-build-stamp@","@cascade-build-stamp@")');
    Deno.writeTextFileSync(`${folder}/b.js`, "nothing");
    assertEquals(stampFolder(folder, "x y"), 1);
    assertEquals(Deno.readTextFileSync(`${folder}/a.js`), 'f("x y","x y")');
  }));
