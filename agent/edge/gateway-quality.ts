/** How an edge's gateways compare: measured twice a second, chosen by gateway-choice.ts, told to people by the status. */
import { handleOf } from '../mp/session.ts'
import type { Node } from '../node/node.ts'
import type { PathMeter } from '../paths/meter.ts'
import { GatewayChoice, type Standing } from './gateway-choice.ts'
import type { GatewayList } from './gateway-list.ts'
import { GatewayMeter, wayOf } from './gateway-meter.ts'
import type { Uplink } from './uplink.ts'

export interface GatewayStatus {
  /** Static metric and what was measured, ms; null while it cannot be used. */
  metric: number | null
  /** What becomes of it in what all gateways serve, and why; null while it cannot be used. */
  use: string | null
  inUse: boolean
}

/** A gateway whose paths all failed works again when they have not done so for so long, ms. */
const MISTRUST_MS = 10_000
/** So long after it works again, its first report of what it had not received has come, ms. */
const REPORTED_MS = 1000
/** Without a working path for so long, ms, a gateway has failed: a path that comes back sooner was left by mistake, or hardly missed. */
export const CONFIRM_MS = 250

export class GatewayQuality {
  readonly #node: Node
  readonly #list: GatewayList
  readonly #meters = new WeakMap<Uplink, GatewayMeter>()
  /** Since when no path works; ms, monotonic, as all times here. */
  readonly #brokenSince = new WeakMap<Uplink, number>()
  /** When the gateway was last found to have failed, or to work again. */
  readonly #failed = new WeakMap<Uplink, number>()
  readonly choice = new GatewayChoice(gateway => this.#standing(gateway))

  /** Probes of all paths that were answered, at the last look. */
  readonly #replies = new WeakMap<Uplink, number>()
  readonly #ask: (uplink: Uplink, path: number) => void

  /** @param ask sends a probe: its answer gives the round trip */
  constructor(node: Node, list: GatewayList, ask: (uplink: Uplink, path: number) => void) {
    this.#node = node
    this.#list = list
    this.#ask = ask
  }

  /** Twice a second, and when the condition of a path has changed. @returns true when routes must be decided anew */
  measure(): boolean {
    for (const uplink of this.#list.uplinks.values()) {
      const meter = this.#meterOf(uplink)
      const { paths, working } = uplink.paths
      this.#confirm(uplink, paths.length > 0 && working.length === 0)
      if (!uplink.usable || this.#failing(uplink)) meter.reset()
      else
        meter.take(
          this.#node.now(),
          working.filter(({ meter }) => this.#isSince(uplink, meter)).map(({ meter }) => wayOf(meter)),
        )
      // What carries nothing is seldom asked otherwise, and old figures would keep it from carrying something.
      if (uplink.usable && !this.#answered(uplink)) this.#askAll(uplink)
    }
    return this.choice.reconsider()
  }

  status(uplink: Uplink): GatewayStatus {
    const { node: gateway } = uplink.gateway
    const all = [...this.#list.uplinks.keys()]
    const name = (id: string) => this.#list.uplinks.get(id)?.gateway.name ?? id
    return {
      metric: this.choice.cost(gateway) ?? null,
      use: this.choice.why(gateway, all, name) ?? null,
      inUse: this.choice.share(all).includes(gateway),
    }
  }

  #standing(gateway: string): Standing | undefined {
    const uplink = this.#list.uplinks.get(gateway)
    return (
      uplink && {
        usable: uplink.usable,
        drained: uplink.gateway.drained || this.#list.leaving(gateway),
        failing: this.#failing(uplink),
        metric: uplink.gateway.metric,
        measured: this.#meterOf(uplink).value,
      }
    )
  }

  #confirm(uplink: Uplink, broken: boolean): void {
    const now = this.#node.now()
    const since = this.#brokenSince.get(uplink) ?? now
    if (now - since >= CONFIRM_MS) this.#failed.set(uplink, now)
    if (broken) this.#brokenSince.set(uplink, since)
    else this.#brokenSince.delete(uplink)
  }

  /** Of the path's figures: what was lost while the gateway had failed would weigh for half a minute. */
  #isSince(uplink: Uplink, meter: PathMeter): boolean {
    const failed = this.#failed.get(uplink) ?? Number.NEGATIVE_INFINITY
    return (meter.beginMs('ten') ?? Number.NEGATIVE_INFINITY) >= failed + REPORTED_MS
  }

  #failing(uplink: Uplink): boolean {
    return this.#node.now() - (this.#failed.get(uplink) ?? Number.NEGATIVE_INFINITY) < MISTRUST_MS
  }

  #meterOf(uplink: Uplink): GatewayMeter {
    const meter = this.#meters.get(uplink) ?? new GatewayMeter()
    this.#meters.set(uplink, meter)
    return meter
  }

  /** Since the last look. */
  #answered(uplink: Uplink): boolean {
    const { maps } = this.#node.dataplane
    const handles = uplink.paths.paths.map(({ path }) => handleOf(uplink.paths.sid, path))
    const replies = handles.reduce((sum, handle) => sum + (maps.pathCounters(handle)?.probeReplies ?? 0), 0)
    const before = this.#replies.get(uplink)
    this.#replies.set(uplink, replies)
    return replies !== before
  }

  #askAll(uplink: Uplink): void {
    for (const { path } of uplink.paths.paths) this.#ask(uplink, path)
  }
}
