/** From what gateways tell to the FIB of an edge: the table of what was told, decided by the choice of gateways, written as next hops. */
import type { RouteMessage } from '../../schema/route-messages.ts'
import type { Node } from '../node/node.ts'
import { EdgeTable } from '../routes/edge-table.ts'
import type { GatewayChoice } from './gateway-choice.ts'
import { EDGE_VRF, type Lan } from './lan.ts'
import { routeTarget } from './route-target.ts'
import type { Uplink } from './uplink.ts'

export interface EdgeRoutesOptions {
  node: Node
  lan: Lan
  choice: GatewayChoice
  uplinks: ReadonlyMap<string, Uplink>
}

export class EdgeRoutes {
  readonly table: EdgeTable
  readonly #options: EdgeRoutesOptions

  constructor(options: EdgeRoutesOptions) {
    this.#options = options
    this.table = new EdgeTable(gateways => options.choice.share(gateways))
  }

  told(gateway: string, message: RouteMessage): void {
    switch (message.type) {
      case 'routes': {
        const others = message.routes.filter(route => route.owner !== this.#options.node.id)
        if (message.full) this.table.markStale(gateway)
        this.#decide(this.table.learn(gateway, others, false))
        break
      }
      case 'unroutes':
        this.#decide(this.table.forget(gateway, message.prefixes))
        break
      case 'end-of-rib':
        this.#decide(this.table.sweepStale(gateway))
        break
      default:
        return
    }
    this.#flush()
  }

  /** The gateway is usable, or not, or its entry is another. The caller flushes. */
  changed(gateway: string): void {
    const { choice } = this.#options
    this.#decide(choice.reconsider() ? this.table.prefixes() : this.table.via(gateway))
  }

  /** The gateway left the list. */
  forget(gateway: string): void {
    this.#options.choice.forget(gateway)
    this.#decide(this.table.forget(gateway, this.table.via(gateway)))
    this.#flush()
  }

  /** Any route may lead elsewhere: gateways compare differently, or a prefix that was local may be a gateway's now. The caller flushes. */
  decideAll(): void {
    this.#decide(this.table.prefixes())
  }

  #decide(prefixes: Iterable<string>): void {
    const { node, lan, uplinks } = this.#options
    for (const prefix of prefixes) {
      if (lan.owns(prefix)) continue
      const decision = this.table.best(prefix)
      if (!decision) {
        node.fib.delete(EDGE_VRF, prefix)
        continue
      }
      const target = routeTarget(decision, gateway => uplinks.get(gateway)?.index)
      node.fib.set(EDGE_VRF, prefix, target)
    }
    node.save()
  }

  #flush(): void {
    const { reconciler, log } = this.#options.node
    reconciler.flush().catch(error => log.error({ err: error }, 'flush failed'))
  }
}
