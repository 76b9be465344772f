/**
 * `cascade completions`: scripts for shells, which ask `cascade complete` what may stand next.
 *
 * @module
 */
import { Argument, Command } from "@commander-js/extra-typings";
import { complete, type Names } from "./complete.ts";
import { examples, TOPOLOGY_DEFAULT } from "./options.ts";
import { print, printLine } from "./output.ts";

const SHELLS = ["bash", "zsh", "fish"] as const;

/** The command. */
export function completionsCommand() {
  return new Command("completions")
    .summary("print a script that completes command lines")
    .description(
      "Print a script that has a shell complete commands, options and their values, files, and the " +
        "names of nodes and links in the topology.",
    )
    .addArgument(new Argument("<shell>", "which shell").choices(SHELLS))
    .addHelpText(
      "after",
      examples(
        ["bash, for now", "source <(cascade completions bash)"],
        ["bash, for good", "cascade completions bash > /etc/bash_completion.d/cascade"],
        ["zsh, in a folder of its fpath", "cascade completions zsh > ~/.zfunc/_cascade"],
        ["fish", "cascade completions fish > ~/.config/fish/completions/cascade.fish"],
      ),
    )
    .action((shell) => print(SCRIPTS[shell]));
}

/**
 * The hidden command that the scripts run: the words behind `--`, the last one being typed. Prints
 * `files`, `folders` or `words`, then a word a line. Says nothing of what goes wrong: a line is being typed.
 */
export function completeCommand() {
  return new Command("complete")
    .argument("[words...]")
    .action(async (words) => {
      const { commandTree } = await import("./main.ts");
      const { loadTopology } = await import("../io/topology_file.ts");
      const namesOf = (topology: string | null): Names => {
        try {
          const { nodes, links } = loadTopology(
            topology ?? (Deno.env.get("CASCADE_TOPOLOGY") || TOPOLOGY_DEFAULT),
          );
          return { nodes: nodes.map(({ name }) => name), links: links.map(({ name }) => name) };
        } catch {
          return { nodes: [], links: [] }; // No topology, or a wrong one: `cascade check` tells.
        }
      };
      const offer = complete(await commandTree(), words, namesOf);
      for (const line of [offer.paths ?? "words", ...offer.words]) printLine(line);
    });
}

const BASH = `# Completes the command lines of cascade in bash.
_cascade() {
  local typed=\${COMP_WORDS[COMP_CWORD]} lines words=() i
  # bash parts words at = and :, which belong to one here.
  if declare -F _get_comp_words_by_ref >/dev/null; then
    local cur all cword
    _get_comp_words_by_ref -n =: -w all -i cword -c cur
    words=("\${all[@]:1:cword}")
    typed=$cur
  else
    for ((i = 1; i <= COMP_CWORD; i++)); do
      if ((i > 1)) && [[ \${COMP_WORDS[i]} == = || \${COMP_WORDS[i - 1]} == = ]] && ((\${#words[@]})); then
        words[-1]+=\${COMP_WORDS[i]}
      else
        words+=("\${COMP_WORDS[i]}")
      fi
    done
    typed=\${words[-1]}
  fi
  mapfile -t lines < <("\${COMP_WORDS[0]}" complete -- "\${words[@]}" 2>/dev/null)
  COMPREPLY=("\${lines[@]:1}")
  # What is offered replaces the part behind the = alone.
  local value=$typed
  if [[ $typed == --*=* ]]; then
    value=\${typed#*=}
    COMPREPLY=("\${COMPREPLY[@]#*=}")
  fi
  if ((\${#lines[@]})) && [[ \${lines[0]} != words ]]; then
    compopt -o filenames 2>/dev/null
    local kind=-f path
    [[ \${lines[0]} == folders ]] && kind=-d
    while IFS= read -r path; do COMPREPLY+=("$path"); done < <(compgen "$kind" -- "$value")
  fi
}
complete -F _cascade cascade
`;

const ZSH = `#compdef cascade
# Completes the command lines of cascade in zsh.
_cascade() {
  local -a lines offered
  lines=("\${(@f)$("\${words[1]}" complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  offered=("\${(@)lines[2,-1]}")
  (( \${#offered} )) && compadd -Q -- "\${(@)offered}"
  case \${lines[1]} in
    files) [[ $PREFIX == --*=* ]] && compset -P '*='; _files ;;
    folders) [[ $PREFIX == --*=* ]] && compset -P '*='; _files -/ ;;
  esac
}
if [ "$funcstack[1]" = "_cascade" ]; then
  _cascade "$@"
else
  compdef _cascade cascade
fi
`;

const FISH = `# Completes the command lines of cascade in fish.
function __cascade_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l lines ($words[1] complete -- $words[2..-1] 2>/dev/null)
    set -l typed (commandline -ct)
    test (count $lines) -gt 1; and printf '%s\\n' $lines[2..-1]
    set -l prefix (string match -r -- '^--[^=]*=' $typed)
    set -l value (string replace -r -- '^--[^=]*=' '' $typed)
    switch "$lines[1]"
        case files
            for path in (__fish_complete_path $value)
                echo "$prefix$path"
            end
        case folders
            for path in (__fish_complete_directories $value '')
                echo "$prefix$path"
            end
    end
end
complete -c cascade -f -a '(__cascade_complete)'
`;

const SCRIPTS: Readonly<Record<(typeof SHELLS)[number], string>> = {
  bash: BASH,
  zsh: ZSH,
  fish: FISH,
};
