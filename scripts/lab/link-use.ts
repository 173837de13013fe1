/** Which of a node's links packets go by, counted within the links, so by no word of the product. */

import { DIRECTIONS, type Direction, type ProfileInput } from './impairment/profile.ts'
import type { Impairment, ImpairmentCounters } from './impairment.ts'
import { openImpairment } from './impairment.ts'
import type { Lab } from './lab.ts'
import { until } from './until.ts'

/** Packets that the ends gave to the link, by direction; what the link then does to them does not matter. */
export type Offered = Readonly<Record<Direction, number>>

/** Enough to tell traffic from probes. */
const PACKETS = 40
const DEADLINE_MS = 20_000

export class LinkUse {
  readonly #links: ReadonlyMap<string, Impairment>

  /** @param profiles what each link of the node suffers from now on, in both directions */
  static async open(lab: Lab, node: string, profiles: Readonly<Record<string, ProfileInput>>): Promise<LinkUse> {
    const links = new Map<string, Impairment>()
    for (const [link, profile] of Object.entries(profiles)) {
      const opened = await openImpairment(lab, { node, link }, { with: 'relay' })
      for (const direction of DIRECTIONS) await opened.set(direction, profile)
      links.set(link, opened)
    }
    return new LinkUse(links)
  }

  private constructor(links: ReadonlyMap<string, Impairment>) {
    this.#links = links
  }

  link(name: string): Impairment {
    const link = this.#links.get(name)
    if (!link) throw new TypeError(`no link ${name}`)
    return link
  }

  async offered(name: string): Promise<Offered> {
    const { out, in: back } = await this.link(name).counters()
    return { out: given(out), in: given(back) }
  }

  /** The link that most packets of the direction go by now. @throws LabError `deadline` when there are none */
  async busiest(direction: Direction): Promise<string> {
    const names = [...this.#links.keys()]
    const read = async () => (await Promise.all(names.map(name => this.offered(name)))).map(each => each[direction])
    const before = await read()
    const more = await until(`packets go ${direction}`, DEADLINE_MS, async () => {
      const counts = (await read()).map((count, index) => count - (before[index] ?? 0))
      return Math.max(...counts) >= PACKETS && counts
    })
    return names[more.indexOf(Math.max(...more))] ?? ''
  }
}

function given({ received, sent, waiting, loss, queue }: ImpairmentCounters): number {
  return received ?? sent + waiting + loss + queue
}
