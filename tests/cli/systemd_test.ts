import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { cascade, inFolder } from "./cascade.ts";

/** A topology whose node `hq` uses `extra` of what a node can have. */
function topology(
  extra: string,
  link = "mode: periodic, cron: '0 2 * * *'",
): string {
  return `cascade: 1
name: payroll
secret: ./payroll.secret
timezone: UTC
volumes:
  data: { size: 256MiB }
nodes:
  hq:
    role: primary
    dir: /var/lib/cascade/hq
    listen: unix:/run/cascade/hq.sock
${extra}
  far:
    role: secondary
    dir: /srv/far
    volumes: { data: /srv/images/far.img }
links:
  - { from: hq, to: far, ${link} }
`;
}

const FILES = "    volumes: { data: /srv/images/hq.img }";
const DEVICE = "    volumes: { data: /dev/vg0/data }";
const HOOK = `${DEVICE}
    capture: scan
    beforeScan: [/usr/local/bin/snapshot]`;

/** The settings of a unit, by name. */
function settings(unit: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const line of unit.split("\n")) {
    const match = /^(\w+)=(.*)$/.exec(line);
    if (match === null) continue;
    found.set(match[1]!, [...found.get(match[1]!) ?? [], match[2]!]);
  }
  return found;
}

async function unitOf(extra: string, ...args: string[]): Promise<Map<string, string[]>> {
  let unit = "";
  await inFolder(async (folder) => {
    Deno.writeTextFileSync(`${folder}/topology.yaml`, topology(extra));
    const { code, stdout, stderr } = await cascade(folder, ["systemd", "--node", "hq", ...args]);
    assertEquals([code, stderr], [0, ""]);
    unit = stdout;
  });
  return settings(unit);
}

Deno.test("a service reaches the folders of its node and no device but its volumes", async () => {
  const files = await unitOf(FILES);
  assertEquals(files.get("Type"), ["notify"]);
  assertEquals(files.get("User"), ["cascade"]);
  assertEquals(files.get("ProtectSystem"), ["strict"]);
  assertEquals(files.get("ReadWritePaths"), ["/srv/images"]);
  assertEquals(files.get("StateDirectory"), ["cascade/hq"]);
  assertEquals(files.get("RuntimeDirectory"), ["cascade"]);
  assertEquals(files.get("PrivateDevices"), ["yes"]);
  assertEquals(files.get("NoNewPrivileges"), ["yes"]);
  assertEquals(files.get("MemoryDenyWriteExecute"), undefined);
  const device = await unitOf(DEVICE);
  assertEquals(device.get("DevicePolicy"), ["closed"]);
  assertEquals(device.get("DeviceAllow"), ["/dev/vg0/data rw"]);
  assertEquals(device.get("PrivateDevices"), undefined);
});

Deno.test("what would keep hooks from working is left to who knows them", async () => {
  const unit = await unitOf(HOOK);
  for (const name of ["NoNewPrivileges", "CapabilityBoundingSet", "DevicePolicy"]) {
    assertEquals(unit.get(name), undefined, name);
  }
  assertEquals(unit.get("ProtectSystem"), ["strict"]);
});

Deno.test("a timer goes off when the link is due, or when it is told", async () => {
  const said = await unitOf(FILES, "timer");
  assertEquals(said.get("OnCalendar"), ["*-*-* 02:00:00 UTC"]);
  assertStringIncludes(said.get("ExecStart")![0]!, "--node hq --skip-if-running --quiet");
  assertEquals(said.get("Type"), ["oneshot"]);
  const told = await unitOf(FILES, "timer", "--on-calendar", "hourly", "--link", "hq-far");
  assertEquals(told.get("OnCalendar"), ["hourly"]);
  assertStringIncludes(told.get("ExecStart")![0]!, "--link hq-far");
});

Deno.test("mistakes are answered with what there is", async () => {
  const cases: readonly (readonly [args: string[], words: string])[] = [
    [[], "which node? There are hq, far"],
    [["--node", "h"], "there is no node h in ./topology.yaml. There are hq, far"],
    [["--node", "far", "timer"], "no link leads from far"],
    [["--node", "hq", "--link", "x", "timer"], "no link x leads from hq. There are hq-far"],
    [["--node", "hq", "--link", "hq-far"], "belong to a timer"],
    [["--node", "hq", "--user", "a b"], "expected the name of a user"],
    [["--node", "hq", "-o", "./nowhere"], "cannot be written"],
    [["socket"], "Allowed choices are service, timer"],
  ];
  await inFolder(async (folder) => {
    Deno.writeTextFileSync(`${folder}/topology.yaml`, topology(FILES));
    for (const [args, words] of cases) {
      const { code, stdout, stderr } = await cascade(folder, ["systemd", ...args]);
      assertEquals([code, stdout], [2, ""], args.join(" "));
      assertStringIncludes(stderr, words);
    }
    const uneven = topology(FILES, "mode: periodic, every: 45m");
    Deno.writeTextFileSync(`${folder}/topology.yaml`, uneven);
    const { stderr } = await cascade(folder, ["systemd", "--node", "hq", "timer"]);
    assertStringIncludes(stderr, "systemd cannot say when link hq-far is due: every 45m");
    assertStringIncludes(stderr, "--on-calendar");
  });
});

const analyze = "/usr/bin/systemd-analyze";
const isThere = await Deno.stat(analyze).then(() => true, () => false);

Deno.test({
  name: "systemd finds nothing wrong with the units, and little exposed",
  ignore: !isThere,
  fn: () =>
    inFolder(async (folder) => {
      for (const extra of [FILES, DEVICE, HOOK]) {
        Deno.writeTextFileSync(`${folder}/topology.yaml`, topology(extra));
        const units: string[] = [];
        for (const kind of ["service", "timer"]) {
          const args = ["--node", "hq", "--program", "/bin/true", "-o", ".", "--force", kind];
          const { stdout } = await cascade(folder, ["systemd", ...args]);
          units.push(...[...stdout.matchAll(/^wrote (.*)$/gm)].map((match) => match[1]!));
        }
        assertEquals(units.length, 3);
        const text = await output(folder, "verify", ...units);
        assertEquals(text, "");
        const security = await output(folder, "security", "--offline=yes", "./cascade-hq.service");
        const exposure = /level for \S+ (\d+\.\d)/.exec(security)?.[1];
        assert(Number(exposure) < (extra === HOOK ? 8 : 3), security.slice(-300));
      }
    }),
});

async function output(cwd: string, ...args: string[]): Promise<string> {
  const env = { SYSTEMD_COLORS: "0", LC_ALL: "C" };
  const { stdout, stderr } = await new Deno.Command(analyze, { args, cwd, env }).output();
  return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
}
