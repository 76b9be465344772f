import { assert, assertEquals } from "@std/assert";
import { cascadeArgs } from "../e2e/support/cluster.ts";
import { withFolder } from "../io/helpers.ts";

const TOPOLOGY = `
cascade: 1
name: payroll
secret: ./secret
volumes: { data: { size: 1MiB } }
nodes:
  hq: { role: primary, dir: ./hq, volumes: { data: ./hq.img } }
  dr: { role: secondary, dir: ./dr, volumes: { data: ./dr.img } }
links:
  - { from: hq, to: dr, mode: async, exec: [ssh, hq.example, cascade, attach, --node, hq] }
`;

function attach(folder: string, ...args: string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: cascadeArgs("attach", "-t", `${folder}/topology.yaml`, ...args),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
}

Deno.test("attach joins its input and output with the node that runs here", () =>
  withFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/topology.yaml`, TOPOLOGY);
    await Deno.mkdir(`${folder}/hq`);
    const listener = Deno.listen({ transport: "unix", path: `${folder}/hq/attach.sock` });
    const child = attach(folder, "--node", "hq");
    const node = await listener.accept();
    const bytes = new Uint8Array(200_000).map((_, index) => index * 7);
    const writer = child.stdin.getWriter();
    const sent = writer.write(bytes).then(() => writer.close());
    // The node answers with what it was told, and hangs up.
    await node.readable.pipeTo(node.writable);
    await sent;
    const { code, stdout } = await child.output();
    assertEquals([code, stdout], [0, bytes]);
    listener.close();
  }));

Deno.test("attach says that the node does not run, and ends with 4", () =>
  withFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/topology.yaml`, TOPOLOGY);
    const child = attach(folder, "--node", "hq");
    await child.stdin.close();
    const { code, stdout, stderr } = await child.output();
    assertEquals([code, stdout.length], [4, 0]);
    const said = new TextDecoder().decode(stderr);
    assert(said.includes("hq does not run here") && said.includes("cascade serve --node hq"), said);
  }));

Deno.test("attach to a node that is not in the topology is a mistake", () =>
  withFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/topology.yaml`, TOPOLOGY);
    const child = attach(folder, "--node", "qh");
    await child.stdin.close();
    const { code, stderr } = await child.output();
    assertEquals(code, 2);
    assert(new TextDecoder().decode(stderr).includes('Did you mean "hq"?'));
  }));
