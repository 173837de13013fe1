/**
 * npm run lab [-- <command> …]: two branches, a gateway and a WAN out of network namespaces, by hand or as told stories. `--help` shows the commands.
 * Exit codes: 0 ok, 1 a story's claim does not hold or a part failed, 2 wrong arguments, 130 or 143 ended by Ctrl-C or SIGTERM.
 */
import { type ParseArgsConfig, parseArgs } from 'node:util'
import { securitySchema } from '../../schema/common.ts'
import { DEFAULT_TOPOLOGY, down, exec, list, runScenario, shell, status, up } from './commands.ts'
import { explain, LabError } from './error.ts'
import { impair } from './impairment/command.ts'
import { IMPAIR_OPTIONS, IMPAIR_USAGE } from './impairment/words.ts'
import type { MachineChoice } from './site.ts'

const USAGE = `usage: npm run lab                                 tell the story instant-vpn, with 3 timed toggles instead of 20
       npm run lab -- list                         what stories there are
       npm run lab -- run <story> [--json] [--count <n>]
       npm run lab -- up [<topology>] [--detach] [--network]
                                                   a lab to use by hand, until Ctrl-C or down;
                                                   --network: without orchestrator and agents
       npm run lab -- status | down
       npm run lab -- exec <node> -- <command…>    in the node's network namespace
       npm run lab -- shell <node>
       npm run lab -- impair <node> <link> [--delay 20ms --loss 1% …] [--json]
                                                   makes a WAN link worse, or good again with --clear

  --native          nodes on this host even if its kernel has no ESP (segments are then carried in clear)
  --guest           nodes in the QEMU guest (default where this kernel has no ESP)
  --security esp|clear
  --topology <name> a file of vagrant/topologies (default two-branches; a story says which it needs)
  --id <id>         a lab beside others (default main; stories have their own)

${IMPAIR_USAGE}`

/** A visitor sees the toggle a few times; `run instant-vpn` measures it 20 times. */
const VISITOR_TOGGLES = 3

const OPTIONS = {
  json: { type: 'boolean', default: false },
  count: { type: 'string' },
  detach: { type: 'boolean', default: false },
  network: { type: 'boolean', default: false },
  native: { type: 'boolean', default: false },
  guest: { type: 'boolean', default: false },
  security: { type: 'string' },
  topology: { type: 'string' },
  id: { type: 'string' },
  ...IMPAIR_OPTIONS,
  help: { type: 'boolean', default: false },
} as const satisfies ParseArgsConfig['options']

const interrupt = new AbortController()
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)
  process.on(signal, () => {
    process.exitCode = code
    interrupt.abort(new LabError('interrupted', `ended by ${signal}`))
  })

// Who reads no further (`| head`) has seen enough. The commands above end as after Ctrl-C, so that nothing stays behind.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exitCode = 0
  interrupt.abort(new LabError('interrupted', 'nobody reads the output'))
})

try {
  const code = await command()
  process.exitCode ??= code
} catch (error) {
  if (!interrupt.signal.aborted) {
    console.error(`lab: ${explain(error)}`)
    process.exitCode = error instanceof LabError && error.code === 'input' ? 2 : 1
  }
}

async function command(): Promise<number> {
  const { values, positionals } = readArguments()
  const [verb, ...rest] = positionals
  const { id = 'main', json, topology, detach, network } = values
  const machine = { id, ...where(values), signal: interrupt.signal }
  // A story neither meets the lab that is used by hand nor another story.
  const own = { ...machine, json, id: values.id ?? `r${process.pid}`, ...(topology !== undefined && { topology }) }
  if (values.help) return print(USAGE)
  switch (verb) {
    case undefined:
      return runScenario('instant-vpn', { count: VISITOR_TOGGLES, ...own, ...count(values.count) })
    case 'list':
      return list(json)
    case 'run':
      return runScenario(one(rest, 'run <story>'), { ...own, ...count(values.count) })
    case 'up':
      return up({ ...machine, topology: rest[0] ?? topology ?? DEFAULT_TOPOLOGY, detach, network })
    case 'status':
      return status(id, json)
    case 'down':
      return down(id)
    case 'exec':
      return exec(id, rest[0] ?? usage('exec <node> -- <command…>'), rest.slice(1), interrupt.signal)
    case 'shell':
      return shell(id, one(rest, 'shell <node>'))
    case 'impair': {
      const [node, link] = two(rest, 'impair <node> <link>')
      return impair(id, { node, link }, values)
    }
    default:
      return usage(`no command ${verb}`)
  }
}

function readArguments() {
  try {
    return parseArgs({ options: OPTIONS, allowPositionals: true })
  } catch (cause) {
    throw new LabError('input', `${cause instanceof Error ? cause.message : String(cause)}\n${USAGE}`, { cause })
  }
}

function where(values: ReturnType<typeof readArguments>['values']) {
  if (values.native && values.guest) usage('--native and --guest exclude each other')
  const machine: MachineChoice = values.native ? 'native' : values.guest ? 'guest' : 'auto'
  if (values.security === undefined) return { machine }
  const security = securitySchema.safeParse(values.security)
  return { machine, security: security.success ? security.data : usage(`--security ${values.security}: esp or clear`) }
}

function count(text: string | undefined): { count?: number } {
  if (text === undefined) return {}
  const value = Number(text)
  return Number.isInteger(value) && value > 0 ? { count: value } : usage(`--count ${text}: a whole number from 1`)
}

function one(words: readonly string[], what: string): string {
  const [word] = words
  return word === undefined || words.length > 1 ? usage(what) : word
}

function two(words: readonly string[], what: string): [string, string] {
  const [first, second] = words
  return first === undefined || second === undefined || words.length > 2 ? usage(what) : [first, second]
}

function usage(what: string): never {
  throw new LabError('input', `${what}\n${USAGE}`)
}

function print(text: string): number {
  console.log(text)
  return 0
}
