/** Ways in which a link ends, each by `cut` and `heal`; the link has a relay or netem in it. */

import { type LinkName, spliceOf } from './impairment/splice.ts'
import type { Impairment } from './impairment.ts'
import type { Lab } from './lab.ts'

export interface Cut {
  /** as it is told */
  readonly name: string
  cut(): Promise<void>
  /** The link is as before. */
  heal(): Promise<void>
}

/** Packets vanish in both directions, and nobody is told. */
export function blackHole(link: Impairment): Cut {
  const before = { out: link.profile('out'), in: link.profile('in') }
  const both = async (more: { blackhole?: true }) => {
    await Promise.all((['out', 'in'] as const).map(way => link.set(way, { ...before[way], ...more })))
  }
  return { name: 'black hole', cut: () => both({ blackhole: true }), heal: () => both({}) }
}

/** The router's port is down: the node keeps its carrier and hears nothing, the router says that nobody is there. */
export function routerDown(lab: Lab, name: LinkName): Cut {
  const { device, link } = spliceOf(lab, name)
  return portDown(lab, 'router down', link.to, device)
}

/** The node loses its carrier. */
export function carrierLost(lab: Lab, name: LinkName): Cut {
  const { node, link } = spliceOf(lab, name)
  return portDown(lab, 'carrier lost', link.to, node)
}

function portDown(lab: Lab, name: string, wan: string, device: string): Cut {
  const set = async (state: 'up' | 'down') => {
    await lab.run(wan, ['ip', 'link', 'set', device, state])
  }
  return { name, cut: () => set('down'), heal: () => set('up') }
}
