/**
 * A WAN link that is not good, in each direction as it is told:
 *
 *   const link = await openImpairment(lab, { node: 'branch-a', link: 'inet' })
 *   await link.set('out', { delayMs: 20, jitterMs: 5, loss: 0.01, burst: 3 })
 *   await link.close()
 *
 * The node and its router notice nothing but that (impairment/splice.ts). Two ways lead there, compared by tests/guest/inside/impairment.test.ts:
 * netem where the kernel has it, and a relay of our own.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { hasNetem, Netem, type NetemCounters, netemWords } from './impairment/netem.ts'
import {
  DIRECTIONS,
  type Direction,
  type Profile,
  type ProfileInput,
  parseProfile,
  profileSchema,
} from './impairment/profile.ts'
import { Relay, type RelayCounters } from './impairment/relay.ts'
import { type LinkName, type Splice, splice, spliceOf, unsplice } from './impairment/splice.ts'
import type { Lab } from './lab.ts'
import { buildTools } from './tools.ts'
import type { Topology } from './topology.ts'

export type ImpairmentKind = 'relay' | 'netem'
export type ImpairmentChoice = ImpairmentKind | 'auto'

/** What both count; the relay also tells causes apart. */
export type ImpairmentCounters = NetemCounters & Partial<RelayCounters>

export interface Impairment {
  readonly kind: ImpairmentKind
  /** What the relay draws from, so that a run can be repeated; netem has none. */
  readonly seed: number | undefined
  profile(direction: Direction): Profile
  /** Replaces all that the direction suffers; `{}` is a good link. Loses nothing that is under way. @throws LabError `input` */
  set(direction: Direction, profile: ProfileInput): Promise<void>
  counters(): Promise<Record<Direction, ImpairmentCounters>>
  /** The link is as if there had been no impairment. */
  close(): Promise<void>
}

export interface ImpairmentOptions {
  /** default auto: what the link has already, else netem where the kernel has it */
  readonly with?: ImpairmentChoice
  /** of a relay that starts */
  readonly seed?: number
}

/** Any process finds it again. */
const stateSchema = z.object({
  kind: z.enum(['relay', 'netem']),
  seed: z.int().optional(),
  out: profileSchema,
  in: profileSchema,
})
type State = z.output<typeof stateSchema>

/** Takes over what the link has; another kind than that begins anew, with good directions. @throws LabError */
export async function openImpairment(lab: Lab, name: LinkName, options: ImpairmentOptions = {}): Promise<Impairment> {
  const choice = options.with ?? 'auto'
  const found = findImpairment(lab, name)
  if (found && (choice === 'auto' || choice === found.kind)) return found
  await found?.close()
  await buildTools()
  const kind = choice === 'auto' ? ((await hasNetem(lab.machine)) ? 'netem' : 'relay') : choice
  const place = await splice(lab, name)
  const seed = kind === 'relay' ? await new Relay(lab, place).start(options.seed) : undefined
  if (kind === 'netem') await new Netem(lab, place).start()
  const record = { kind, ...(seed !== undefined && { seed }), out: {}, in: {} }
  return new LinkImpairment(lab, name, place, writeState(lab, place, record))
}

/** undefined: nothing was put into the link. @throws LabError `input` when there is no such link */
export function findImpairment(lab: Lab, name: LinkName): Impairment | undefined {
  const place = spliceOf(lab, name)
  const record = readState(lab, place)
  return record && new LinkImpairment(lab, name, place, record)
}

class LinkImpairment implements Impairment {
  readonly #lab: Lab
  readonly #name: LinkName
  readonly #place: Splice
  readonly #means: Relay | Netem
  #state: State

  constructor(lab: Lab, name: LinkName, place: Splice, state: State) {
    this.#lab = lab
    this.#name = name
    this.#place = place
    this.#state = state
    this.#means = state.kind === 'relay' ? new Relay(lab, place) : new Netem(lab, place)
  }

  get kind(): ImpairmentKind {
    return this.#state.kind
  }

  get seed(): number | undefined {
    return this.#state.seed
  }

  profile(direction: Direction): Profile {
    return this.#state[direction]
  }

  async set(direction: Direction, input: ProfileInput): Promise<void> {
    const profile = parseProfile(input)
    if (this.kind === 'netem') netemWords(profile)
    await this.#means.set(direction, profile)
    this.#state = writeState(this.#lab, this.#place, { ...this.#state, [direction]: profile })
  }

  counters(): Promise<Record<Direction, ImpairmentCounters>> {
    return this.#means.counters()
  }

  async close(): Promise<void> {
    rmSync(stateFile(this.#lab, this.#place), { force: true })
    await this.#means.stop()
    await unsplice(this.#lab, this.#name)
  }
}

/** Impairs the links whose topology file says so. */
export async function impairFromTopology(lab: Lab, topology: Topology = lab.topology): Promise<void> {
  for (const node of topology.nodes) {
    if (node.kind !== 'edge' && node.kind !== 'gateway') continue
    for (const { name, impairment } of node.wan) {
      if (!impairment) continue
      const link = await openImpairment(lab, { node: node.name, link: name }, { with: impairment.with })
      for (const direction of DIRECTIONS) await link.set(direction, impairment[direction])
    }
  }
}

function stateFile(lab: Lab, { node }: Splice): string {
  return join(lab.machine.shared, 'impairments', `${node}.json`)
}

function writeState(lab: Lab, place: Splice, state: State): State {
  const file = stateFile(lab, place)
  mkdirSync(join(file, '..'), { recursive: true })
  writeFileSync(file, JSON.stringify(state))
  return state
}

function readState(lab: Lab, place: Splice): State | undefined {
  try {
    return stateSchema.parse(JSON.parse(readFileSync(stateFile(lab, place), 'utf8')))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}
