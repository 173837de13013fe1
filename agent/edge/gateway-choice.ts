/**
 * Which of several gateways carries what all of them serve. Pure but for what it remembers.
 *
 *   cost = static metric (orchestrator/compile/gateway-metric.ts) + measured (gateway-meter.ts), both in ms of round trip
 *
 * Gateways of the same cost share the flows. A choice stays while no gateway is better by more than a fifth: figures waver, and each move makes
 * flows change their way. A drained gateway gets what no other serves, one whose paths all fail at present what nobody else does. As long as one that
 * is in use was not measured, nothing is compared.
 */

export interface Standing {
  /** Packets sent to it now arrive, as far as this node can know. */
  usable: boolean
  drained: boolean
  /** None of its paths can be relied on now; it is not given up yet. */
  failing: boolean
  /** Static metric. */
  metric: number
  /** ms; undefined: not measured yet. */
  measured: number | undefined
}

/** A choice stays while its cost is at most so many times the best one's. */
const KEEP = 1.2
/** Costs that differ by less than this factor are the same. */
const SAME = 1.05

interface Candidate {
  gateway: string
  cost: number
}

/** @returns cheapest first. @param before what was chosen of these the last time */
export function choose(candidates: readonly Candidate[], before: ReadonlySet<string>): string[] {
  const sorted = candidates.toSorted((a, b) => a.cost - b.cost || (a.gateway < b.gateway ? -1 : 1))
  const best = sorted[0]?.cost ?? 0
  const kept = sorted.filter(({ gateway, cost }) => before.has(gateway) && cost <= KEEP * best)
  const reference = kept[0]?.cost ?? best
  const same = (cost: number) => cost <= SAME * reference && reference <= SAME * cost
  return sorted.filter(each => kept.includes(each) || same(each.cost)).map(({ gateway }) => gateway)
}

export class GatewayChoice {
  readonly #standing: (gateway: string) => Standing | undefined
  /** By the gateways that there were to choose from, since a subnet may be served by some alone. */
  readonly #choices = new Map<string, { of: readonly string[]; chosen: readonly string[]; current: boolean }>()

  constructor(standing: (gateway: string) => Standing | undefined) {
    this.#standing = standing
  }

  /** Those of `gateways` that share the flows now, best first; none: no one is usable. */
  share(gateways: readonly string[]): readonly string[] {
    const of = gateways.toSorted()
    const key = of.join(' ')
    const known = this.#choices.get(key)
    if (known?.current) return known.chosen
    const chosen = this.#choose(of, new Set(known?.chosen))
    this.#choices.set(key, { of, chosen, current: true })
    return chosen
  }

  #choose(gateways: readonly string[], before: ReadonlySet<string>): string[] {
    const usable = gateways.flatMap(gateway => {
      const standing = this.#standing(gateway)
      return standing?.usable ? [{ gateway, ...standing }] : []
    })
    const working = usable.filter(({ failing }) => !failing)
    const open = working.filter(({ drained }) => !drained)
    const field = [open, working].find(each => each.length > 0) ?? usable
    const measured = field.flatMap(({ gateway, metric, measured: ms }) =>
      ms === undefined ? [] : [{ gateway, cost: metric + ms }],
    )
    if (measured.length === 0)
      return choose(
        field.map(({ gateway, metric }) => ({ gateway, cost: metric })),
        before,
      )
    const unknown = field.filter(each => before.has(each.gateway) && each.measured === undefined)
    if (unknown.length === 0) return choose(measured, before)
    return field.map(({ gateway }) => gateway).filter(gateway => before.has(gateway))
  }

  /** Something that `standing` tells is another now. @returns true when a choice changed, so that routes must be decided anew */
  reconsider(): boolean {
    for (const choice of this.#choices.values()) choice.current = false
    return [...this.#choices.values()].filter(({ of, chosen }) => this.share(of).join() !== chosen.join()).length > 0
  }

  /** The gateway will not be asked for again. */
  forget(gateway: string): void {
    for (const [key, { of }] of this.#choices) if (of.includes(gateway)) this.#choices.delete(key)
  }

  /** ms; of a usable gateway. */
  cost(gateway: string): number | undefined {
    const standing = this.#standing(gateway)
    return standing?.usable ? standing.metric + (standing.measured ?? 0) : undefined
  }

  /** For people: what becomes of the gateway in what all of them serve, and why. */
  why(gateway: string, all: readonly string[], name: (gateway: string) => string): string | undefined {
    const standing = this.#standing(gateway)
    if (!standing?.usable) return undefined
    const chosen = this.share(all)
    const others = chosen.filter(each => each !== gateway).map(name)
    if (chosen.includes(gateway)) {
      const how = others.length > 0 ? `shares with ${others.join(', ')}` : all.length > 1 ? 'best' : 'the only one'
      return standing.drained ? `drained, but no other is there` : how
    }
    if (standing.failing) return 'its paths fail'
    if (standing.drained) return 'drained'
    return standing.measured === undefined ? 'not measured yet' : `standby for ${others.join(', ')}`
  }
}
