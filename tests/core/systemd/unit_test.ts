import { assertEquals } from "@std/assert";
import { commandWord, settingText, settingWord, unitText } from "../../../core/systemd/unit.ts";

Deno.test("a word means to systemd what it is, whatever stands in it", () => {
  assertEquals(commandWord("/srv/a-b_c.yaml"), "/srv/a-b_c.yaml");
  assertEquals(commandWord("/srv/50% $HOME"), '"/srv/50%% $$HOME"');
  assertEquals(settingWord("/srv/$x"), "/srv/$x");
  assertEquals(settingWord('/srv/a"b\\c\nUser=root'), '"/srv/a\\"b\\\\c\\nUser=root"');
  assertEquals(commandWord(""), '""');
  assertEquals(commandWord("a;b"), '"a;b"');
});

Deno.test("no text of the user's begins a line of its own", () => {
  assertEquals(settingText("a\nExecStart=/bin/evil 100%"), "a ExecStart=/bin/evil 100%%");
  assertEquals(
    unitText(["made of x\ny"], [["Unit", [["A", "1"], "", "why"]]]),
    "# made of x\n# y\n\n[Unit]\nA=1\n\n# why\n",
  );
});
