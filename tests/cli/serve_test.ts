import { assert, assertEquals, assertMatch } from "@std/assert";
import { changedParts, reloaded, withLive } from "../../cli/serve_reload.ts";
import { firstView } from "../../core/tree/view.ts";
import { rewriteTopology } from "../../core/topology/rewrite.ts";
import { loadSetup, type NodeSetup } from "../../cli/serve_node.ts";
import { fetchPage, fetchStatus } from "../../io/admin_client.ts";
import { until, withFolder } from "../io/helpers.ts";

const MOD = new URL("../../mod.ts", import.meta.url).pathname;
const SECRET = "0123456789abcdef0123456789abcdef";

/** A topology of two nodes with Unix sockets alone; `extra` goes into the node hq. */
function topologyText(extra = ""): string {
  return `
cascade: 1
name: payroll
secret: ./secret
volumes: { data: { size: 8MiB } }
nodes:
  hq:
    role: primary
    dir: ./hq
    listen: [unix:./hq.link]
    volumes: { data: ./hq.img }
    log: { budget: 16MiB, segment: 4MiB }
    nbd: [unix:./hq.nbd]
    admin: unix:./hq.admin
${extra}
  dr:
    role: secondary
    dir: ./dr
    volumes: { data: ./dr.img }
    log: { budget: 16MiB, segment: 4MiB }
    admin: unix:./dr.admin
links:
  - { from: hq, to: dr, mode: async }
`;
}

/** One run of the program; its words are kept. */
class Program {
  readonly #child: Deno.ChildProcess;
  readonly #ended: Promise<void>;
  readonly status: Promise<Deno.CommandStatus>;
  stdout = "";
  stderr = "";

  constructor(folder: string, args: readonly string[], env: Record<string, string> = {}) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", MOD, ...args],
      cwd: folder,
      env: { NO_COLOR: "1", CASCADE_TOPOLOGY: "topology.yaml", ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.status = this.#child.status;
    this.#ended = Promise.all([
      this.#read(this.#child.stdout, (text) => this.stdout += text),
      this.#read(this.#child.stderr, (text) => this.stderr += text),
    ]).then(() => {});
  }

  async #read(stream: ReadableStream<Uint8Array>, add: (text: string) => void): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) add(decoder.decode(chunk, { stream: true }));
  }

  get pid(): number {
    return this.#child.pid;
  }

  signal(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  says(pattern: RegExp): Promise<void> {
    return until(`${pattern} in:\n${this.stderr}`, () => pattern.test(this.stderr), 20_000);
  }

  /** The exit code, once all that it said has been read. */
  async end(): Promise<number> {
    const { code } = await this.status;
    await this.#ended;
    return code;
  }

  async kill(): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It had ended by itself.
    }
    await this.end();
  }
}

type Run = (args: readonly string[], env?: Record<string, string>) => Program;

/** A folder with a topology and its secret; what was started in it is killed at the end. */
function withTopology(
  body: (folder: string, run: Run) => Promise<void>,
  extra = "",
): Promise<void> {
  return withFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/secret`, SECRET, { mode: 0o600 });
    await Deno.writeTextFile(`${folder}/topology.yaml`, topologyText(extra));
    const programs: Program[] = [];
    const run: Run = (args, env) => {
      const program = new Program(folder, args, env);
      programs.push(program);
      return program;
    };
    try {
      await body(folder, run);
    } finally {
      for (const program of programs) await program.kill();
    }
  });
}

Deno.test("a node serves, is asked, waited for and stopped, from the command line alone", () =>
  withTopology(async (folder, run) => {
    const hq = run(["serve", "--node", "hq"]);
    const dr = run(["serve", "--node", "dr", "--log-format", "json"]);
    await Promise.all([hq.says(/ ready /), dr.says(/"message":"ready"/)]);
    assertMatch(hq.stderr, / INFO {2}hq ready .*nbd=unix:\S+\/hq\.nbd admin=unix:\S+\/hq\.admin/);
    for (const line of dr.stderr.trim().split("\n")) {
      const event = JSON.parse(line);
      assertEquals(event.node, "dr");
      assert(typeof event.message === "string" && typeof event.level === "string");
    }

    const wait = run(["wait", "--link", "hq-dr", "--caught-up", "--timeout", "20s"]);
    assertEquals([await wait.end(), wait.stdout, wait.stderr], [0, "", ""]);

    const json = run(["status", "--json"]);
    assertEquals(await json.end(), 0, json.stderr);
    const document = JSON.parse(json.stdout);
    assertEquals(document.unreachable, []);
    assertEquals(document.nodes.map((node: { pid: number }) => node.pid), [hq.pid, dr.pid]);

    dr.signal("SIGTERM");
    assertEquals(await dr.end(), 0, dr.stderr);
    assertMatch(dr.stderr, /"message":"stopped"/);
    const status = run(["status"]);
    assertEquals(await status.end(), 1);
    assertMatch(status.stdout, /^dr: unreachable: /m);

    hq.signal("SIGINT");
    assertEquals(await hq.end(), 0, hq.stderr);
    const nobody = run(["status", "--json"]);
    assertEquals(await nobody.end(), 4);
    assertEquals(JSON.parse(nobody.stdout).unreachable.length, 2);
    const late = run(["wait", "--link", "hq-dr", "--lsn", "1", "--timeout", "100ms"]);
    assertEquals(await late.end(), 4);
    assertMatch(late.stderr, /^cascade: not within 100ms: /);
    for (const name of ["hq.link", "hq.nbd", "hq.admin", "dr.admin"]) {
      assert(!Array.from(Deno.readDirSync(folder)).some((entry) => entry.name === name), name);
    }
  }));

Deno.test("a second process on the same node ends with 1 and names the first", () =>
  withTopology(async (_, run) => {
    const first = run(["serve", "--node", "hq"]);
    await first.says(/ ready /);
    const second = run(["serve", "--node", "hq"]);
    assertEquals(await second.end(), 1);
    const lines = second.stderr.trim().split("\n");
    assertEquals(lines.length, 1, second.stderr);
    assertMatch(lines[0]!, new RegExp(` ERROR hq cannot serve .*Process ${first.pid} holds it`));
  }));

Deno.test("an admin address that is taken stops the start, and leaves the node clean", () =>
  withTopology(async (folder, run) => {
    const taken = Deno.listen({ transport: "unix", path: `${folder}/hq.admin` });
    const hq = run(["serve", "--node", "hq"]);
    assertEquals(await hq.end(), 1);
    assertMatch(hq.stderr, /cannot serve reason="another program serves this socket/);
    taken.close();
    const again = run(["serve", "--node", "hq"]);
    await again.says(/ ready /);
    assert(!again.stderr.includes("torn"), again.stderr);
  }));

Deno.test("a wrong command line or topology ends with 2 before anything is touched", () =>
  withTopology(async (folder, run) => {
    const unknown = run(["serve", "--node", "hk"]);
    const missing = run(["serve"]);
    const level = run(["serve", "--node", "hq", "--log-level", "loud"]);
    assertEquals(await unknown.end(), 2);
    assertMatch(unknown.stderr, /has no node "hk".*Did you mean "hq"/);
    assertEquals(await missing.end(), 2);
    assertMatch(missing.stderr, /--node/);
    assertEquals(await level.end(), 2);
    assertEquals(Array.from(Deno.readDirSync(folder)).length, 2);
  }));

Deno.test("SIGHUP tells what has changed, takes a new token at once, and survives a wrong file", () =>
  withTopology(async (folder, run) => {
    const [first, second] = ["first-token-0123456789", "second-token-0123456789"];
    const withToken = topologyText("    adminToken: ./token");
    await Deno.writeTextFile(`${folder}/token`, first, { mode: 0o600 });
    await Deno.writeTextFile(`${folder}/topology.yaml`, withToken);
    const hq = run(["serve", "--node", "hq"]);
    await hq.says(/ ready /);
    const ask = (token: string) =>
      fetchPage({ address: `unix:${folder}/hq.admin`, token, timeoutMs: 5000 }, "/healthz");
    assertEquals((await ask(first)).code, 200);

    hq.signal("SIGHUP");
    await hq.says(/the topology was reloaded changed=nothing/);
    await Deno.writeTextFile(`${folder}/token`, second);
    hq.signal("SIGHUP");
    await hq.says(/the topology was reloaded changed=adminToken/);
    assertEquals((await ask(first)).code, 401);
    assertEquals((await ask(second)).code, 200);

    await Deno.writeTextFile(`${folder}/topology.yaml`, withToken.replace("16MiB", "32MiB"));
    hq.signal("SIGHUP");
    await hq.says(/WARN .* some changes need a restart restart=log/);
    await Deno.writeTextFile(`${folder}/topology.yaml`, "cascade: 2");
    hq.signal("SIGHUP");
    await hq.says(/ERROR .* the topology was not reloaded reason=.*topology\.yaml:1:/);
    const address = `unix:${folder}/hq.admin`;
    assertEquals((await fetchStatus({ address, token: second, timeoutMs: 5000 })).state, "running");
    assert(
      !hq.stderr.includes(first) && !hq.stderr.includes(second) && !hq.stderr.includes(SECRET),
    );
  }));

Deno.test("what has changed is told by name, and a token that goes needs a restart", () =>
  withTopology(async (folder) => {
    const load = () => loadSetup({ topology: `${folder}/topology.yaml`, node: "hq" });
    const setup = load();
    assertEquals(changedParts(setup, load()), { live: [], restart: [] });
    const changed = topologyText().replace("mode: async", "mode: sync").replace(
      "hq.admin",
      "h.admin",
    );
    await Deno.writeTextFile(`${folder}/topology.yaml`, changed);
    await Deno.writeTextFile(`${folder}/secret`, SECRET + SECRET);
    assertEquals(changedParts(setup, load()), {
      live: [],
      restart: ["downstream", "secret", "admin"],
    });
    const limited = topologyText().replace(
      "mode: async",
      "mode: async, bandwidth: 1MiB/s, compress: zstd",
    );
    await Deno.writeTextFile(`${folder}/topology.yaml`, limited);
    await Deno.writeTextFile(`${folder}/secret`, SECRET);
    const thrifty = load();
    const live = ["hq-dr.bandwidth", "hq-dr.compress"];
    assertEquals(changedParts(setup, thrifty), { live, restart: [] });
    assertEquals(withLive(setup, thrifty, live).config.downstream, thrifty.config.downstream);
    // How the node above sends is nothing to the one below.
    const below = (setup: NodeSetup) => ({
      ...setup,
      config: { ...setup.config, upstream: setup.config.downstream[0]!, downstream: [] },
    });
    assertEquals(changedParts(below(setup), below(thrifty)), { live: [], restart: [] });
    const withToken = { ...setup, adminToken: "token" };
    assertEquals(changedParts(setup, withToken).live, ["adminToken"]);
    assertEquals(changedParts(withToken, setup).restart, ["adminToken"]);
  }));

Deno.test("whom a node may choose to be fed by changes at once, with a file that is read again", () =>
  withTopology(async (folder) => {
    const path = `${folder}/topology.yaml`;
    const load = async (text: string) => {
      await Deno.writeTextFile(path, text);
      return loadSetup({ topology: path, node: "dr" });
    };
    const setup = await load(topologyText());
    assertEquals([setup.config.parents, setup.config.reparentAfterMs], [[], 60_000]);
    const img = "volumes: { data: ./dr.img }";
    const text = topologyText().replace(img, `${img}\n    parents: [hq]\n    reparentAfter: 5s`);
    const after = reloaded(setup, await load(text), firstView("hq"), []);
    assertEquals([after.live, after.restart], [["parents", "reparentAfter"], []]);
    const { parents, reparentAfterMs } = after.setup.config;
    assertEquals([parents, reparentAfterMs], [["hq"], 5_000]);
  }));

Deno.test("a file read again changes no role and no link, and all else of it counts", () =>
  withTopology(async (folder) => {
    const path = `${folder}/topology.yaml`;
    const load = async (text: string) => {
      await Deno.writeTextFile(path, text);
      return loadSetup({ topology: path, node: "hq" });
    };
    const setup = await load(topologyText());
    const view = {
      ...{ primary: "dr", reign: 4096, reignId: "a".repeat(32) },
      parents: { hq: { to: "dr", reign: 4096, serial: 0 } },
    };
    // The same file: it says what is not so.
    const same = reloaded(setup, await load(topologyText()), view, []);
    assertEquals([same.live, same.restart], [[], []]);
    assertEquals(same.differs?.says, "hq is the primary, dr is fed by hq");
    assertEquals(same.differs?.so, "dr is the primary since epoch 4096, hq is fed by dr");
    assertEquals(same.setup.config.tree, setup.config.tree);
    assertEquals(same.setup.config.fileTree, setup.config.tree);
    assertEquals(same.running.config.role, "secondary");
    // The file that was written: it is what is declared from now on.
    const text = rewriteTopology(topologyText(), path, folder, view);
    const after = reloaded(same.setup, await load(text), view, ["certificates"]);
    assertEquals([after.live, after.restart, after.differs], [["certificates"], [], null]);
    assertEquals(after.setup.config.fileTree, undefined);
    assertEquals(after.setup.config.tree?.links, (await load(text)).config.tree?.links);
    assertEquals(after.setup.config.upstream?.from, "dr");
    // Other changes beside it.
    const more = text.replace("16MiB", "32MiB");
    assertEquals(reloaded(setup, await load(more), view, []).restart, ["log"]);
  }));

Deno.test("a second signal ends a drain at once", () =>
  withTopology(async (_, run) => {
    const hq = run(["serve", "--node", "hq"]);
    await hq.says(/ ready /);
    hq.signal("SIGTERM");
    hq.signal("SIGINT");
    // It may have been done by then: what counts is that it ends, and that it can start again.
    assert([0, 1].includes(await hq.end()), hq.stderr);
    await run(["serve", "--node", "hq"]).says(/ ready /);
  }));

Deno.test({
  name: "a service manager is told when the node is ready, and when it stops",
  ignore: !hasPython(),
  fn: () =>
    withTopology(async (folder, run) => {
      const path = `${folder}/notify`;
      const script = "import socket,sys\n" +
        "s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); s.bind(sys.argv[1])\n" +
        "print('bound',flush=True)\n" +
        "for _ in range(2): print(s.recv(100).decode(),flush=True)\n";
      const manager = new Deno.Command("python3", {
        args: ["-c", script, path],
        stdout: "piped",
      }).spawn();
      try {
        let heard = "";
        const listening = (async () => {
          for await (const chunk of manager.stdout) heard += new TextDecoder().decode(chunk);
        })();
        await until("the manager listens", () => heard.includes("bound"));
        const hq = run(["serve", "--node", "hq"], { NOTIFY_SOCKET: path });
        await until("READY=1", () => heard.includes("READY=1"), 20_000);
        hq.signal("SIGTERM");
        assertEquals(await hq.end(), 0);
        await until("STOPPING=1", () => heard.includes("STOPPING=1"));
        await manager.status;
        await listening;
      } finally {
        await stop(manager);
      }
    }),
});

function hasPython(): boolean {
  try {
    return new Deno.Command("python3", { args: ["--version"] }).outputSync().success;
  } catch {
    return false;
  }
}

async function stop(child: Deno.ChildProcess): Promise<void> {
  try {
    child.kill("SIGKILL");
  } catch {
    // It had ended by itself.
  }
  await child.status;
}
