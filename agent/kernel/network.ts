/** The port's Network over rtnetlink and ethtool netlink, in the namespace that the process is in. */
import { readFileSync, writeFileSync } from 'node:fs'
import { KernelError } from './error.ts'
import {
  AF_INET,
  AF_INET6,
  addressMessage,
  getAddresses,
  parseAddressMessage,
  RTM_DELADDR,
  RTM_GETADDR,
  RTM_NEWADDR,
} from './netlink/address.ts'
import { NetlinkClient } from './netlink/client.ts'
import { type Message, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from './netlink/codec.ts'
import { setFeatures } from './netlink/features.ts'
import {
  changeLink,
  deleteLink,
  getLink,
  newLink,
  parseLink,
  RTM_DELLINK,
  RTM_GETLINK,
  RTM_NEWLINK,
} from './netlink/link.ts'
import { Monitor } from './netlink/monitor.ts'
import { getNeighbours, neighbourMessage, parseNeighbour, RTM_GETNEIGH, RTM_NEWNEIGH } from './netlink/neighbour.ts'
import {
  newClass,
  newQdisc,
  parseClass,
  parseQdisc,
  queuePlace,
  RTM_DELQDISC,
  RTM_GETQDISC,
  RTM_GETTCLASS,
  RTM_NEWQDISC,
  RTM_NEWTCLASS,
} from './netlink/qdisc.ts'
import {
  getRoutes,
  parseRoutes,
  RT_TABLE_MAIN,
  RTM_DELROUTE,
  RTM_GETROUTE,
  RTM_NEWROUTE,
  routeMessage,
} from './netlink/route.ts'
import { getRules, parseRule, RTM_DELRULE, RTM_GETRULE, RTM_NEWRULE, ruleMessage } from './netlink/rule.ts'
import type { Address, Link, LinkSpec, Neighbour, Network, NetworkChange, Route, Rule } from './port.ts'
import type { HtbClass, Qdisc, QdiscSpec } from './queueing.ts'

const NETLINK_ROUTE = 0
const NETLINK_GENERIC = 16
const FAMILIES = [AF_INET, AF_INET6]

export class LinuxNetwork implements Network {
  readonly #route = new NetlinkClient(NETLINK_ROUTE, 'rtnetlink')
  readonly #generic = new NetlinkClient(NETLINK_GENERIC, 'generic netlink')
  readonly #monitor = new Monitor()

  async links(): Promise<Link[]> {
    return (await this.#dump(RTM_GETLINK, getLink(), 'links')).map(parseLink)
  }

  async createLink(spec: LinkSpec): Promise<Link> {
    const object = `${spec.kind} ${spec.name}`
    await this.#send(RTM_NEWLINK, newLink(spec), 'create', object, NLM_F_CREATE | NLM_F_EXCL)
    const [link] = await this.#send(RTM_GETLINK, getLink(spec.name), 'read', object)
    if (!link) throw new KernelError('read', object, 'ENODEV')
    return parseLink(link)
  }

  async deleteLink(ifindex: number): Promise<void> {
    await this.#send(RTM_DELLINK, deleteLink(ifindex), 'delete', `device ${ifindex}`)
  }

  async setLink(ifindex: number, change: { up?: boolean; mtu?: number }): Promise<void> {
    await this.#send(RTM_NEWLINK, changeLink(ifindex, change), 'change', `device ${ifindex}`)
  }

  async setFeatures(ifindex: number, features: Record<string, boolean>): Promise<void> {
    await setFeatures(this.#generic, ifindex, features)
  }

  async addresses(): Promise<Address[]> {
    const messages = await this.#dump(RTM_GETADDR, getAddresses(), 'addresses')
    return messages.map(parseAddressMessage).filter(address => address !== undefined)
  }

  async addAddress(address: Address): Promise<void> {
    const flags = NLM_F_CREATE | NLM_F_EXCL
    await this.#send(RTM_NEWADDR, addressMessage(address), 'add', addressText(address), flags)
  }

  async deleteAddress(address: Address): Promise<void> {
    const payload = addressMessage(address)
    await this.#send(RTM_DELADDR, payload, 'delete', addressText(address), 0, 'EADDRNOTAVAIL')
  }

  async routes(table = RT_TABLE_MAIN): Promise<Route[]> {
    const dumps = FAMILIES.map(family =>
      this.#dump(RTM_GETROUTE, getRoutes(family, table), `routes of table ${table}`).catch(emptyWhenMissing),
    )
    return (await Promise.all(dumps)).flat().flatMap(parseRoutes)
  }

  async addRoute(route: Route): Promise<void> {
    await this.#send(RTM_NEWROUTE, routeMessage(route), 'add', routeText(route), NLM_F_CREATE | NLM_F_EXCL)
  }

  async replaceRoute(route: Route): Promise<void> {
    await this.#send(RTM_NEWROUTE, routeMessage(route), 'replace', routeText(route), NLM_F_CREATE | NLM_F_REPLACE)
  }

  async deleteRoute(route: Route): Promise<void> {
    await this.#send(RTM_DELROUTE, routeMessage(route, true), 'delete', routeText(route), 0, 'ESRCH')
  }

  async rules(): Promise<Rule[]> {
    const dumps = FAMILIES.map(family => this.#dump(RTM_GETRULE, getRules(family), 'rules'))
    return (await Promise.all(dumps))
      .flat()
      .map(parseRule)
      .filter(rule => rule !== undefined)
  }

  async addRule(rule: Rule): Promise<void> {
    await this.#send(RTM_NEWRULE, ruleMessage(rule), 'add', ruleText(rule), NLM_F_CREATE | NLM_F_EXCL)
  }

  async deleteRule(rule: Rule): Promise<void> {
    await this.#send(RTM_DELRULE, ruleMessage(rule), 'delete', ruleText(rule))
  }

  async neighbours(ifindex: number): Promise<Neighbour[]> {
    const messages = await this.#dump(RTM_GETNEIGH, getNeighbours(ifindex), `neighbours of device ${ifindex}`)
    return messages.map(parseNeighbour).filter(neighbour => neighbour !== undefined)
  }

  async replaceNeighbour(neighbour: Neighbour): Promise<void> {
    const object = `neighbour ${neighbour.address} of device ${neighbour.ifindex}`
    await this.#send(RTM_NEWNEIGH, neighbourMessage(neighbour), 'replace', object, NLM_F_CREATE | NLM_F_REPLACE)
  }

  async qdiscs(): Promise<Qdisc[]> {
    return (await this.#dump(RTM_GETQDISC, queuePlace({ ifindex: 0 }), 'qdiscs')).map(parseQdisc)
  }

  async replaceQdisc(spec: QdiscSpec): Promise<void> {
    const object = `qdisc ${spec.kind} of device ${spec.ifindex}`
    await this.#send(RTM_NEWQDISC, newQdisc(spec), 'replace', object, NLM_F_CREATE | NLM_F_REPLACE)
  }

  async deleteQdisc(place: { ifindex: number; parent: number }): Promise<void> {
    await this.#send(RTM_DELQDISC, queuePlace(place), 'delete', `qdisc of device ${place.ifindex}`)
  }

  async classes(ifindex: number): Promise<Omit<HtbClass, 'burst'>[]> {
    const messages = await this.#dump(RTM_GETTCLASS, queuePlace({ ifindex }), `classes of device ${ifindex}`)
    return messages.map(parseClass).filter(each => each !== undefined)
  }

  async replaceClass(htbClass: HtbClass): Promise<void> {
    const object = `class ${htbClass.handle.toString(16)} of device ${htbClass.ifindex}`
    await this.#send(RTM_NEWTCLASS, newClass(htbClass), 'replace', object, NLM_F_CREATE | NLM_F_REPLACE)
  }

  watch(listener: (change: NetworkChange) => void): () => void {
    return this.#monitor.watch(listener)
  }

  sysctl(key: string): string | undefined {
    try {
      return readFileSync(sysctlPath(key), 'utf8').trim()
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined
      throw new KernelError('read', `sysctl net/${key}`, codeOf(error))
    }
  }

  setSysctl(key: string, value: string): void {
    try {
      writeFileSync(sysctlPath(key), value)
    } catch (error) {
      throw new KernelError('write', `sysctl net/${key}`, codeOf(error))
    }
  }

  close(): void {
    this.#route.close()
    this.#generic.close()
    this.#monitor.close()
  }

  #send(
    type: number,
    payload: Uint8Array,
    operation: string,
    object: string,
    flags = 0,
    missing?: string,
  ): Promise<Message[]> {
    return this.#route.request({ type, payload, operation, object, flags, ...(missing !== undefined && { missing }) })
  }

  #dump(type: number, payload: Uint8Array, object: string): Promise<Message[]> {
    return this.#route.dump({ type, payload, operation: 'read', object })
  }
}

/** A table without routes may not exist. */
function emptyWhenMissing(error: unknown): Message[] {
  if (error instanceof KernelError && error.code === 'ENOENT') return []
  throw error
}

function sysctlPath(key: string): string {
  if (key.split('/').includes('..')) throw new KernelError('open', `sysctl net/${key}`, 'EINVAL')
  return `/proc/sys/net/${key}`
}

function codeOf(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code
  throw error
}

function addressText({ address, prefixLength, ifindex }: Address): string {
  return `address ${address}/${prefixLength} of device ${ifindex}`
}

function routeText({ destination, gateway, ifindex, table }: Route): string {
  const via = gateway === undefined ? '' : ` via ${gateway}`
  return `route ${destination}${via} dev ${ifindex} table ${table ?? RT_TABLE_MAIN}`
}

function ruleText({ family, outInterface, table, priority }: Rule): string {
  return `IPv${family} rule ${priority}: oif ${outInterface} lookup ${table}`
}
