/** In-memory routing tables and policy rules. */
import { networkBytes, type Prefix, parseAddress, parsePrefix, prefixContains } from '../../../schema/address.ts'
import { KernelError } from '../error.ts'
import type { NetworkChange, Route, Rule } from '../port.ts'

const RT_TABLE_MAIN = 254
const RTPROT_STATIC = 4
/** What IPv6 makes of no metric (net/ipv6/route.c, IP6_RT_PRIO_USER). */
const IPV6_METRIC = 1024

export class FakeRoutes {
  readonly #device: (ifindex: number) => { up: boolean } | undefined
  readonly #notify: (change: NetworkChange) => void
  readonly #routes = new Map<string, Route>()
  readonly #rules = new Map<string, Rule>()

  constructor(device: (ifindex: number) => { up: boolean } | undefined, notify: (change: NetworkChange) => void) {
    this.#device = device
    this.#notify = notify
  }

  list(table = RT_TABLE_MAIN): Route[] {
    return [...this.#routes.values()].filter(route => route.table === table).map(route => ({ ...route }))
  }

  add(route: Route): void {
    const full = this.#complete('add', route)
    if (this.#routes.has(keyOf(full))) throw new KernelError('add', textOf(full), 'EEXIST')
    this.#store(full)
  }

  replace(route: Route): void {
    this.#store(this.#complete('replace', route))
  }

  delete(route: Route): void {
    const found = [...this.#routes].find(([, candidate]) => matches(candidate, route))
    if (!found) throw new KernelError('delete', textOf(route), 'ENOENT')
    this.#routes.delete(found[0])
    this.#notify({ what: 'route', ifindex: route.ifindex })
  }

  /** The kernel's own route to a subnet. */
  connect(route: Route | undefined): void {
    if (route && !this.#routes.has(keyOf(route))) this.#store(route)
  }

  disconnect(route: Route | undefined): void {
    if (!route || !this.#routes.delete(keyOf(route))) return
    this.#notify({ what: 'route', ifindex: route.ifindex })
  }

  /** All routes of a device that went down or away. */
  flush(ifindex: number): void {
    for (const [key, route] of this.#routes) {
      if (route.ifindex !== ifindex) continue
      this.#routes.delete(key)
      this.#notify({ what: 'route', ifindex })
    }
  }

  rules(): Rule[] {
    return Array.from(this.#rules.values(), rule => ({ ...rule }))
  }

  addRule(rule: Rule): void {
    const key = JSON.stringify([rule.family, rule.outInterface, rule.table, rule.priority])
    if (this.#rules.has(key)) throw new KernelError('add', `rule ${key}`, 'EEXIST')
    this.#rules.set(key, { ...rule })
  }

  deleteRule(rule: Rule): void {
    const key = JSON.stringify([rule.family, rule.outInterface, rule.table, rule.priority])
    if (!this.#rules.delete(key)) throw new KernelError('delete', `rule ${key}`, 'ENOENT')
  }

  #store(route: Route): void {
    this.#routes.set(keyOf(route), route)
    this.#notify({ what: 'route', ifindex: route.ifindex })
  }

  /** With the values that the kernel fills in. @throws KernelError when the kernel would refuse it */
  #complete(operation: string, route: Route): Route {
    const refuse = (code: string, detail?: string) => new KernelError(operation, textOf(route), code, detail)
    const prefix = parsePrefix(route.destination)
    if (!prefix) throw new TypeError(`not a prefix: ${route.destination}`)
    const device = this.#device(route.ifindex)
    if (!device) throw refuse('ENODEV')
    if (!device.up) throw refuse('ENETDOWN')
    if (prefix.family === 4 && hasHostBits(prefix)) throw refuse('EINVAL', 'Invalid prefix for given prefix length')
    const isIpv4 = prefix.family === 4
    if (route.gateway !== undefined && !route.onlink && !this.#isOnLink(route.gateway, route.ifindex))
      throw refuse(isIpv4 ? 'ENETUNREACH' : 'EHOSTUNREACH', isIpv4 ? 'Nexthop has invalid gateway' : undefined)
    return {
      ...route,
      table: route.table ?? RT_TABLE_MAIN,
      protocol: route.protocol ?? RTPROT_STATIC,
      scope: route.scope ?? (isIpv4 && route.gateway === undefined ? 'link' : 'global'),
      ...(!isIpv4 && { metric: route.metric || IPV6_METRIC }),
    }
  }

  /** Is there a connected route to the gateway? */
  #isOnLink(gateway: string, ifindex: number): boolean {
    const address = parseAddress(gateway)
    if (!address) throw new TypeError(`not an address: ${gateway}`)
    const host = { ...address, length: address.bytes.length * 8 }
    if (isLinkLocal(host)) return true
    return this.list().some(route => {
      const prefix = parsePrefix(route.destination)
      return route.ifindex === ifindex && route.gateway === undefined && prefix && prefixContains(prefix, host)
    })
  }
}

function hasHostBits(prefix: Prefix): boolean {
  return networkBytes(prefix).some((byte, index) => byte !== prefix.bytes[index])
}

function isLinkLocal(address: Prefix): boolean {
  return address.family === 6 && address.bytes[0] === 0xfe && ((address.bytes[1] ?? 0) & 0xc0) === 0x80
}

/** Absent fields of `wanted` match anything, as in the kernel. */
function matches(route: Route, wanted: Route): boolean {
  return (
    route.destination === wanted.destination &&
    route.ifindex === wanted.ifindex &&
    route.table === (wanted.table ?? RT_TABLE_MAIN) &&
    (wanted.gateway === undefined || route.gateway === wanted.gateway) &&
    (wanted.metric === undefined || (route.metric ?? 0) === wanted.metric) &&
    (wanted.protocol === undefined || route.protocol === wanted.protocol)
  )
}

function keyOf({ destination, table, metric }: Route): string {
  return `${destination} ${table ?? RT_TABLE_MAIN} ${metric ?? 0}`
}

function textOf({ destination, gateway, ifindex, table }: Route): string {
  return `route ${destination}${gateway === undefined ? '' : ` via ${gateway}`} dev ${ifindex} table ${table ?? RT_TABLE_MAIN}`
}
