import type { AgentConfigInput } from '../../agent/config.ts'
import type { Configure } from './agent.ts'
import type { Lab } from './lab.ts'
import type { Story } from './story.ts'
import type { System } from './system.ts'

export interface Stage {
  readonly story: Story
  readonly lab: Lab
  /** Every agent of it is up, its VPNs are off. */
  readonly system: System
  /** `--count`, for what can be repeated more or less often */
  readonly count: number | undefined
}

/** A story: a file in scenarios/. It throws, or a figure passes its bar, when a claim does not hold. */
export interface Scenario {
  readonly name: string
  /** One line for `list`. */
  readonly about: string
  /** A file of vagrant/topologies; default two-branches. */
  readonly topology?: string
  /** Nodes that there are not at first: `system.add`. */
  readonly later?: readonly string[]
  /** Whose edges take part; fewer start sooner. */
  readonly enterprises: readonly string[]
  readonly timers?: NonNullable<AgentConfigInput['timers']>
  readonly configure?: Configure
  /** Address families of the WAN; default both */
  readonly families?: readonly (4 | 6)[]
  readonly run: (stage: Stage) => Promise<void>
}
