/** `branchline completion bash|zsh`: the shells ask the command itself, which knows its tree and fetches names live. */
import { Argument, type Command, type Option } from 'commander'
import { withAdmin } from './admin.ts'

/** A person waits with a finger on the key. */
const NAMES_TIMEOUT_MS = 1000

const SCRIPTS = {
  bash: `_branchline() {
  local IFS=$'\\n'
  COMPREPLY=($(branchline __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _branchline branchline
`,
  zsh: `#compdef branchline
_branchline() {
  local -a found
  found=("\${(@f)$(branchline __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  compadd -- $found
}
compdef _branchline branchline
`,
}

export function addCompletion(program: Command): void {
  program
    .command('completion')
    .description('a script that completes commands, options and names')
    .addArgument(new Argument('<shell>').choices(['bash', 'zsh']))
    .addHelpText(
      'after',
      '\nExamples:\n  source <(branchline completion bash)\n  branchline completion zsh > ~/.zsh/functions/_branchline',
    )
    .action((shell: keyof typeof SCRIPTS) => {
      process.stdout.write(SCRIPTS[shell])
    })

  program
    .command('__complete', { hidden: true })
    .argument('[words...]', 'the words so far, the last one unfinished')
    .action(async (words: string[], _options: unknown, command: Command) => {
      const found = await complete(program, words, kind => names(command, kind))
      if (found.length > 0) process.stdout.write(`${found.join('\n')}\n`)
    })
}

export type NameKind = 'enterprises' | 'nodes'

/** What an argument or option value is called in the help tells what it names. */
const KINDS: Readonly<Record<string, NameKind>> = {
  enterprise: 'enterprises',
  node: 'nodes',
  gateway: 'nodes',
}

/** @returns words that may stand in the place of the last one */
export async function complete(
  program: Command,
  words: readonly string[],
  fetchNames: (kind: NameKind) => Promise<string[]>,
): Promise<string[]> {
  const current = words.at(-1) ?? ''
  const { command, positional, pending } = walk(program, words.slice(0, -1))
  const fits = (candidates: readonly string[]) => candidates.filter(word => word.startsWith(current)).toSorted()
  if (pending) return fits(pending.argChoices ?? (await valueNames(pending.long?.slice(2) ?? '', fetchNames)))
  if (current.startsWith('-')) {
    const options = [...command.options, ...(command === program ? [] : program.options)]
    return fits([...options.filter(option => !option.hidden).flatMap(option => option.long ?? []), '--help'])
  }
  const nouns = command.createHelp().visibleCommands(command)
  if (nouns.length > 0) return positional === 0 ? fits(nouns.map(child => child.name())) : []
  const argument =
    command.registeredArguments[positional] ?? command.registeredArguments.findLast(last => last.variadic)
  return argument ? fits(argument.argChoices ?? (await valueNames(argument.name(), fetchNames))) : []
}

async function valueNames(name: string, fetchNames: (kind: NameKind) => Promise<string[]>): Promise<string[]> {
  const kind = KINDS[name]
  return kind ? await fetchNames(kind) : []
}

/** Follows the finished words down the tree: the command, how many arguments it has, and an option that waits for its value. */
function walk(
  program: Command,
  words: readonly string[],
): { command: Command; positional: number; pending: Option | undefined } {
  let command = program
  let positional = 0
  let pending: Option | undefined
  for (const word of words) {
    if (pending) {
      pending = undefined
    } else if (word.startsWith('-')) {
      const option = [...command.options, ...program.options].find(
        candidate => candidate.long === word || candidate.short === word,
      )
      pending = option?.required ? option : undefined
    } else {
      const child = command.commands.find(candidate => candidate.name() === word)
      if (child) command = child
      else positional++
    }
  }
  return { command, positional, pending }
}

/** Nothing when the orchestrator does not answer at once: completion must never complain. */
async function names(command: Command, kind: NameKind): Promise<string[]> {
  try {
    return (await withAdmin(command, admin => admin.names.query(), NAMES_TIMEOUT_MS))[kind]
  } catch {
    return []
  }
}
