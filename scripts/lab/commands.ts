/** What `npm run lab -- <command>` does; main.ts reads the arguments. Each returns the exit code. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type Headquarters, openHeadquarters } from './headquarters.ts'
import { Lab, type LabOptions } from './lab.ts'
import { reapDeadLabs, reapLab } from './reap.ts'
import { labDir, listLabs, readRecord } from './record.ts'
import type { Scenario } from './scenario.ts'
import { findScenario, SCENARIOS } from './scenarios/index.ts'
import { jsonTeller, peopleTeller, Story } from './story.ts'
import { System } from './system.ts'

type Where = Omit<LabOptions, 'say' | 'detach'>

export const DEFAULT_TOPOLOGY = 'two-branches'

const say = (line: string) => console.error(`lab: ${line}`)

export interface UpOptions extends Where {
  readonly detach: boolean
  /** the network alone, without orchestrator and agents */
  readonly network: boolean
}

export async function up(options: UpOptions): Promise<number> {
  const [lab, headquarters] = await Lab.upWith({ ...options, say }, async site =>
    options.network ? undefined : openHeadquarters(site, {}),
  )
  try {
    if (headquarters) {
      await System.start(lab, headquarters, {})
      const { orchestrator } = headquarters
      say(`toggle a VPN: branchline --data-dir ${orchestrator.dataDir} vpn on ${lab.topology.enterprises[0]}`)
    }
    say(`up: ${lab.topology.nodes.map(node => node.name).join(' ')}, on Linux ${lab.machine.kernel}`)
    if (options.detach) {
      lab.detach()
      return 0
    }
    say('Ctrl-C ends it')
    await interruption(options.signal)
  } catch (error) {
    await lab.down()
    throw error
  }
  await lab.down()
  return 0
}

export interface RunOptions extends Omit<Where, 'topology'> {
  /** default: the story's */
  readonly topology?: string
  readonly json: boolean
  readonly count?: number
}

export async function runScenario(name: string, options: RunOptions): Promise<number> {
  const scenario = findScenario(name)
  const topology = options.topology ?? scenario.topology ?? DEFAULT_TOPOLOGY
  const story = new Story(options.json ? jsonTeller : peopleTeller)
  if (!options.json) console.log(`${scenario.name}: ${scenario.about}\n`)
  const [lab, headquarters] = await story.step('the lab comes up, the orchestrator in it, nodes get identities', () =>
    Lab.upWith({ ...options, topology, detach: false, say: line => story.note(line) }, site =>
      openHeadquarters(site, scenario),
    ),
  )
  try {
    const ok = await tell(scenario, story, lab, headquarters, options.count)
    return ok ? 0 : 1
  } finally {
    await lab.down()
  }
}

/** A failed step was told by the story; what comes from elsewhere is told here. */
async function tell(
  scenario: Scenario,
  story: Story,
  lab: Lab,
  headquarters: Headquarters,
  count: number | undefined,
): Promise<boolean> {
  try {
    const system = await story.step('agents start, tunnels come up', () => System.start(lab, headquarters, scenario))
    await scenario.run({ story, lab, system, count })
  } catch (error) {
    story.fail(error)
  } finally {
    await headquarters.orchestrator.disconnect()
  }
  return story.end(scenario.name, lab.machine.kernel)
}

export async function list(json: boolean): Promise<number> {
  for (const { name, about } of SCENARIOS)
    console.log(json ? JSON.stringify({ name, about }) : `${name.padEnd(20)}${about}`)
  return 0
}

export async function status(id: string, json: boolean): Promise<number> {
  const lab = Lab.find(id)
  const record = readRecord(lab.dir)
  const nodes = lab.topology.nodes.map(({ name, kind }) => ({ name, kind }))
  if (json) console.log(JSON.stringify({ id, ...record, kernel: lab.machine.kernel, nodes }))
  else {
    console.log(
      `lab ${id}: topology ${record?.topology}, ${lab.machine.kind}, Linux ${lab.machine.kernel}, segments ${lab.security}`,
    )
    for (const { name, kind } of nodes) console.log(`  ${name.padEnd(16)}${kind}`)
  }
  return 0
}

/** Also ends what a lab of that id left when it died. */
export async function down(id: string): Promise<number> {
  const dir = labDir(id)
  if (!listLabs().some(each => each.id === id)) say(`no lab ${id} runs`)
  await reapLab(dir)
  for (const dead of await reapDeadLabs()) say(`removed what the dead lab ${dead} had left`)
  return 0
}

export async function exec(
  id: string,
  node: string,
  command: readonly string[],
  signal?: AbortSignal,
): Promise<number> {
  const result = await Lab.find(id).exec(node, command, {
    ...(signal && { signal }),
    stdin: process.stdin,
    onStdout: chunk => process.stdout.write(chunk),
    onStderr: chunk => process.stderr.write(chunk),
  })
  // A command that ended without reading its input leaves ours open.
  process.stdin.destroy()
  return result.code ?? 1
}

export async function shell(id: string, node: string): Promise<number> {
  const lab = Lab.find(id)
  const inside = ['nsenter', `--net=${lab.namespace(node)}`, '--', 'env', `PS1=${node}# `, 'bash', '--norc', '-i']
  if (lab.machine.kind === 'native') {
    const child = spawn('nsenter', inside.slice(1), { stdio: 'inherit' })
    const [code] = await once(child, 'exit')
    return typeof code === 'number' ? code : 1
  }
  // The guest's commands have pipes: script(1) makes a terminal there, and ours passes every key on.
  process.stdin.setRawMode?.(true)
  try {
    return await exec(id, node, ['script', '-qec', inside.map(word => `'${word}'`).join(' '), '/dev/null'])
  } finally {
    process.stdin.setRawMode?.(false)
  }
}

async function interruption(signal: AbortSignal): Promise<void> {
  // Signal handlers alone do not keep a process alive.
  const idle = setInterval(() => {}, 2 ** 31 - 1)
  if (!signal.aborted) await once(signal, 'abort')
  clearInterval(idle)
}
