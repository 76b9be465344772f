import { assertEquals } from "@std/assert";
import { recall, remember, type Remembering } from "../../io/contacts.ts";
import { readTopology } from "../../io/topology_file.ts";

const TEXT = `cascade: 1
name: payroll
secret: ./secret
volumes: { data: { size: 1MiB } }
nodes:
  hq:
    role: primary
    dir: ./hq
    listen: "unix:./hq.sock"
    volumes: { data: ./hq.img }
    admin: "unix:./admin"
    adminToken: env:TOKEN
  dr: { role: secondary, dir: ./dr, volumes: { data: ./dr.img } }
links:
  - { from: hq, to: dr, mode: async }
`;

/** A topology that was read, checked and remembered. */
function remembered(
  test: (path: string, memory: Remembering, file: string) => void,
): void {
  const folder = Deno.makeTempDirSync({ prefix: "cascade-contacts-" });
  try {
    const path = `${folder}/topology.yaml`;
    Deno.writeTextFileSync(path, TEXT);
    const memory = { folder: `${folder}/cache/cascade`, program: "0.1.0 (1a2b3c4)" };
    const { topology, text } = readTopology(path);
    remember(path, text, topology!, memory);
    const [file] = [...Deno.readDirSync(memory.folder)];
    test(path, memory, `${memory.folder}/${file!.name}`);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("what was remembered is what the topology says", () =>
  remembered((path, memory) => {
    assertEquals(recall(path, memory), {
      nodes: [
        {
          name: "hq",
          admin: `unix:${path.replace("topology.yaml", "admin")}`,
          adminToken: { kind: "env", name: "TOKEN" },
        },
        { name: "dr", admin: null, adminToken: null },
      ],
      links: [{ name: "hq-dr", from: "hq" }],
    });
  }));

/** What happens between two commands, after which nothing is remembered any more. */
const FORGETS: Record<string, (path: string, memory: Remembering, file: string) => void> = {
  "a changed file": (path) => Deno.writeTextFileSync(path, TEXT.replace("payroll", "pay")),
  "one more byte": (path) => Deno.writeTextFileSync(path, `${TEXT}\n`),
  "a file that is gone": (path) => Deno.removeSync(path),
  "bytes that are no text": (path) => Deno.writeFileSync(path, Uint8Array.of(0xff)),
  "a memory that others may write": (_, __, file) => Deno.chmodSync(file, 0o620),
  "a memory that others may read": (_, __, file) => Deno.chmodSync(file, 0o604),
  "a memory that is torn": (_, __, file) => Deno.truncateSync(file, 20),
  "a memory that is empty": (_, __, file) => Deno.truncateSync(file, 0),
  "a memory that is gone": (_, __, file) => Deno.removeSync(file),
};

for (const [name, change] of Object.entries(FORGETS)) {
  Deno.test(`nothing is remembered after ${name}`, () =>
    remembered((path, memory, file) => {
      change(path, memory, file);
      assertEquals(recall(path, memory), null);
    }));
}

Deno.test("another build, another path, and no cache folder remember nothing", () =>
  remembered((path, memory, file) => {
    assertEquals(recall(path, { ...memory, program: "0.1.0 (ffffff0)" }), null);
    assertEquals(recall(path, { ...memory, program: null }), null);
    assertEquals(recall(path, { ...memory, folder: null }), null);
    const other = `${path}.copy`;
    Deno.copyFileSync(path, other);
    assertEquals(recall(other, memory), null);
    // Also where the two shared a file.
    for (const { name } of [...Deno.readDirSync(memory.folder!)]) {
      const kept = JSON.parse(Deno.readTextFileSync(`${memory.folder}/${name}`));
      Deno.writeTextFileSync(file, JSON.stringify({ ...kept, path: other }));
    }
    assertEquals(recall(path, memory), null);
  }));

Deno.test({
  name: "a memory of somebody else is not believed",
  ignore: Deno.uid() !== 0,
  fn: () =>
    remembered((path, memory, file) => {
      Deno.chownSync(file, 12345, null);
      assertEquals(recall(path, memory), null);
      Deno.chownSync(path, 12345, null);
      assertEquals(recall(path, memory)?.links.length, 1);
    }),
});

Deno.test("where nothing can be written nothing is remembered, and nobody minds", () =>
  remembered((path) => {
    const { topology, text } = readTopology(path);
    const memory = { folder: `${path}/cascade`, program: "x" };
    remember(path, text, topology!, memory);
    assertEquals(recall(path, memory), null);
  }));
