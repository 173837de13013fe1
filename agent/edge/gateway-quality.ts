/** How an edge's gateways compare: measured twice a second, chosen by gateway-choice.ts, told to people by the status. */
import type { PathState } from '../../schema/abi.gen.ts'
import { handleOf } from '../mp/session.ts'
import type { Node } from '../node/node.ts'
import { GatewayChoice, type Standing } from './gateway-choice.ts'
import type { GatewayList } from './gateway-list.ts'
import { GatewayMeter } from './gateway-meter.ts'
import type { Uplink } from './uplink.ts'

export interface GatewayStatus {
  /** Static metric and what was measured, ms; null while it cannot be used. */
  metric: number | null
  /** What becomes of it in what all gateways serve, and why; null while it cannot be used. */
  use: string | null
  inUse: boolean
}

/** A gateway whose paths all failed works again when they have not done so for so long, ms. */
const MISTRUST_MS = 5000

export class GatewayQuality {
  readonly #node: Node
  readonly #list: GatewayList
  readonly #meters = new WeakMap<Uplink, GatewayMeter>()
  /** When all paths were last found left, ms, monotonic. */
  readonly #failed = new WeakMap<Uplink, number>()
  readonly choice = new GatewayChoice(gateway => this.#standing(gateway))

  readonly #ask: (uplink: Uplink, path: number) => void

  /** @param ask sends a probe: its answer gives the round trip */
  constructor(node: Node, list: GatewayList, ask: (uplink: Uplink, path: number) => void) {
    this.#node = node
    this.#list = list
    this.#ask = ask
  }

  /** Twice a second, and when programs leave a path. @returns true when routes must be decided anew */
  measure(): boolean {
    for (const uplink of this.#list.uplinks.values()) {
      const meter = this.#meterOf(uplink)
      if (this.#allLeft(uplink)) this.#failed.set(uplink, this.#node.now())
      if (!uplink.usable) meter.reset()
      else meter.take(this.#node.now(), this.#livePaths(uplink))
      // What carries nothing is seldom asked otherwise, and old figures would keep it from carrying something.
      if (uplink.usable && !meter.fresh) this.#askAll(uplink)
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
        failing: this.#node.now() - (this.#failed.get(uplink) ?? Number.NEGATIVE_INFINITY) < MISTRUST_MS,
        metric: uplink.gateway.metric,
        measured: this.#meterOf(uplink).value,
      }
    )
  }

  #meterOf(uplink: Uplink): GatewayMeter {
    const meter = this.#meters.get(uplink) ?? new GatewayMeter()
    this.#meters.set(uplink, meter)
    return meter
  }

  /** The programs sent, heard nothing in return, and would go elsewhere if this gateway had another path (bpf/path/liveness.h). */
  #allLeft(uplink: Uplink): boolean {
    const session = this.#node.sessions.get(uplink.sid)
    return session?.paths.every(({ path }) => this.#node.pathState(handleOf(session.sid, path))?.left === 1) ?? false
  }

  #askAll(uplink: Uplink): void {
    for (const { path } of this.#node.sessions.get(uplink.sid)?.paths ?? []) this.#ask(uplink, path)
  }

  #livePaths(uplink: Uplink): PathState[] {
    const { sessions, config } = this.#node
    const session = sessions.get(uplink.sid)
    if (!session) return []
    return session.paths.flatMap(({ path }) => {
      const handle = handleOf(session.sid, path)
      const idleMs = this.#node.pathIdleMs(handle)
      const live = idleMs !== undefined && idleMs <= config.timers.silentMs
      return live ? (this.#node.pathState(handle) ?? []) : []
    })
  }
}
