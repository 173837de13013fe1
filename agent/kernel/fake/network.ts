/** In-memory links, addresses and neighbours; routes and rules are in routes.ts, sysctls in sysctl.ts. Changes are told as the kernel tells them. */
import { formatPrefix, networkBytes, parseAddress } from '../../../schema/address.ts'
import { KernelError } from '../error.ts'
import type { Address, Link, LinkSpec, Neighbour, Network, NetworkChange, Route, Rule } from '../port.ts'
import type { HtbClass, Qdisc, QdiscSpec } from '../queueing.ts'
import { FakeQueues } from './queues.ts'
import { FakeRoutes } from './routes.ts'
import { FakeSysctls } from './sysctl.ts'

const MIN_MTU = 68
const ETHERNET_MTU = 1500

interface FakeLink extends Omit<Link, 'running'> {
  /** ifindex of the other end of a veth. */
  peer: number | undefined
  /** Is the other end of the cable up? A veth's peer says so for itself. */
  carrier: boolean
}

export class FakeNetwork implements Network {
  readonly #esp: boolean
  readonly #links = new Map<number, FakeLink>()
  readonly #addresses = new Map<string, Address>()
  readonly #neighbours = new Map<string, Neighbour>()
  readonly #listeners = new Set<(change: NetworkChange) => void>()
  readonly #routes = new FakeRoutes(
    ifindex => this.#links.get(ifindex),
    change => this.#notify(change),
  )
  readonly #sysctls = new FakeSysctls(name => this.#byName(name) !== undefined)
  readonly #queues = new FakeQueues((operation, ifindex) => void this.#require(operation, ifindex))
  #nextIfindex = 1

  constructor(esp: boolean) {
    this.#esp = esp
    this.#add('lo', undefined, 65536)
  }

  /** Plugs in a device of the machine itself, up and with carrier. */
  addDevice(name: string, mtu = ETHERNET_MTU): Link {
    const link = this.#add(name, undefined, mtu)
    link.up = true
    return this.#show(link)
  }

  /** Pulls or plugs the cable of a device. */
  setCarrier(ifindex: number, carrier: boolean): void {
    this.#require('change', ifindex).carrier = carrier
    this.#notify({ what: 'link', ifindex })
  }

  /** Notifications were lost, as when the socket buffer overflows. */
  loseNotifications(): void {
    this.#notify({ what: 'overflow' })
  }

  /** The agent that listened has ended. */
  unwatchAll(): void {
    this.#listeners.clear()
  }

  has(ifindex: number): boolean {
    return this.#links.has(ifindex)
  }

  async links(): Promise<Link[]> {
    return Array.from(this.#links.values(), link => this.#show(link))
  }

  async createLink(spec: LinkSpec): Promise<Link> {
    const object = `${spec.kind} ${spec.name}`
    if (spec.kind === 'xfrm' && !this.#esp) throw new KernelError('create', object, 'EOPNOTSUPP', 'Unknown device type')
    const names = spec.kind === 'veth' ? [spec.name, spec.peer] : [spec.name]
    if (names.some(name => this.#byName(name))) throw new KernelError('create', object, 'EEXIST')
    // Also in the kernel one xfrm interface in a namespace can collect metadata.
    if (spec.kind === 'xfrm' && [...this.#links.values()].some(link => link.kind === 'xfrm'))
      throw new KernelError('create', object, 'EEXIST')
    if (spec.mtu < MIN_MTU) throw new KernelError('create', object, 'EINVAL', 'mtu less than device minimum')
    if (spec.kind === 'macvlan') this.#require('create', spec.parent)
    const link = this.#add(spec.name, spec.kind, spec.mtu)
    if (spec.kind === 'macvlan') link.parent = spec.parent
    if (spec.kind === 'veth') {
      const peer = this.#add(spec.peer, 'veth', spec.mtu)
      link.peer = peer.ifindex
      peer.peer = link.ifindex
    }
    return this.#show(link)
  }

  async deleteLink(ifindex: number): Promise<void> {
    const link = this.#require('delete', ifindex)
    const above = [...this.#links.values()].filter(({ parent }) => parent === ifindex).map(each => each.ifindex)
    for (const gone of [...above, ifindex, ...(link.peer === undefined ? [] : [link.peer])]) {
      this.#links.delete(gone)
      this.#routes.flush(gone)
      this.#queues.flush(gone)
      deleteWhere(this.#addresses, address => address.ifindex === gone)
      deleteWhere(this.#neighbours, neighbour => neighbour.ifindex === gone)
      this.#notify({ what: 'link', ifindex: gone })
    }
  }

  async setLink(ifindex: number, change: { up?: boolean; mtu?: number }): Promise<void> {
    const link = this.#require('change', ifindex)
    if (change.mtu !== undefined && change.mtu < MIN_MTU)
      throw new KernelError('change', `device ${ifindex}`, 'EINVAL', 'mtu less than device minimum')
    link.mtu = change.mtu ?? link.mtu
    if (change.up !== undefined && change.up !== link.up) {
      link.up = change.up
      if (link.up) for (const address of this.#addresses.values()) this.#connect(address)
      else this.#routes.flush(ifindex)
    }
    this.#notify({ what: 'link', ifindex })
  }

  async setFeatures(ifindex: number, _features: Record<string, boolean>): Promise<void> {
    this.#require('set features of', ifindex)
  }

  async addresses(): Promise<Address[]> {
    return Array.from(this.#addresses.values(), address => ({ ...address }))
  }

  async addAddress(address: Address): Promise<void> {
    requireAddress(address.address)
    this.#require('add address to', address.ifindex)
    const key = addressKey(address)
    if (this.#addresses.has(key)) throw new KernelError('add', `address ${key}`, 'EEXIST')
    this.#addresses.set(key, { ...address })
    this.#connect(address)
    this.#notify({ what: 'address', ifindex: address.ifindex })
  }

  async deleteAddress(address: Address): Promise<void> {
    this.#require('delete address of', address.ifindex)
    const key = addressKey(address)
    if (!this.#addresses.delete(key)) throw new KernelError('delete', `address ${key}`, 'ENOENT')
    this.#routes.disconnect(connectedRoute(address))
    this.#notify({ what: 'address', ifindex: address.ifindex })
  }

  async routes(table?: number): Promise<Route[]> {
    return this.#routes.list(table)
  }

  async addRoute(route: Route): Promise<void> {
    this.#routes.add(route)
  }

  async replaceRoute(route: Route): Promise<void> {
    this.#routes.replace(route)
  }

  async deleteRoute(route: Route): Promise<void> {
    this.#routes.delete(route)
  }

  async rules(): Promise<Rule[]> {
    return this.#routes.rules()
  }

  async addRule(rule: Rule): Promise<void> {
    this.#routes.addRule(rule)
  }

  async deleteRule(rule: Rule): Promise<void> {
    this.#routes.deleteRule(rule)
  }

  async neighbours(ifindex: number): Promise<Neighbour[]> {
    this.#require('read neighbours of', ifindex)
    return [...this.#neighbours.values()].filter(neighbour => neighbour.ifindex === ifindex)
  }

  async replaceNeighbour(neighbour: Neighbour): Promise<void> {
    requireAddress(neighbour.address)
    this.#require('replace neighbour of', neighbour.ifindex)
    this.#neighbours.set(`${neighbour.ifindex} ${neighbour.address}`, { ...neighbour })
    this.#notify({ what: 'neighbour', ifindex: neighbour.ifindex })
  }

  async qdiscs(): Promise<Qdisc[]> {
    return this.#queues.list()
  }

  async replaceQdisc(spec: QdiscSpec): Promise<void> {
    this.#queues.replace(spec)
  }

  async deleteQdisc(place: { ifindex: number; parent: number }): Promise<void> {
    this.#queues.delete(place)
  }

  async classes(ifindex: number): Promise<Omit<HtbClass, 'burst'>[]> {
    return this.#queues.classes(ifindex)
  }

  async replaceClass(htbClass: HtbClass): Promise<void> {
    this.#queues.replaceClass(htbClass)
  }

  watch(listener: (change: NetworkChange) => void): () => void {
    const entry = (change: NetworkChange) => listener(change)
    this.#listeners.add(entry)
    return () => this.#listeners.delete(entry)
  }

  sysctl(key: string): string | undefined {
    return this.#sysctls.get(key)
  }

  setSysctl(key: string, value: string): void {
    this.#sysctls.set(key, value)
  }

  #add(name: string, kind: string | undefined, mtu: number): FakeLink {
    const ifindex = this.#nextIfindex++
    const mac = `02:00:00:00:${(ifindex >> 8).toString(16).padStart(2, '0')}:${(ifindex & 255).toString(16).padStart(2, '0')}`
    const link: FakeLink = {
      ifindex,
      name,
      kind,
      mtu,
      up: false,
      mac,
      peer: undefined,
      parent: undefined,
      carrier: true,
    }
    this.#links.set(ifindex, link)
    this.#notify({ what: 'link', ifindex })
    return link
  }

  #show({ peer, carrier, ...link }: FakeLink): Link {
    const cable = peer === undefined ? carrier : (this.#links.get(peer)?.up ?? false)
    return { ...link, running: link.up && cable }
  }

  #byName(name: string): FakeLink | undefined {
    return [...this.#links.values()].find(link => link.name === name)
  }

  #require(operation: string, ifindex: number): FakeLink {
    const link = this.#links.get(ifindex)
    if (!link) throw new KernelError(operation, `device ${ifindex}`, 'ENODEV')
    return link
  }

  /** The kernel adds the route to a subnet with the first address in it, while the device is up. */
  #connect(address: Address): void {
    if (this.#links.get(address.ifindex)?.up) this.#routes.connect(connectedRoute(address))
  }

  /** Later, as from a socket: never while the caller is still at work. */
  #notify(change: NetworkChange): void {
    for (const listener of this.#listeners) {
      queueMicrotask(() => {
        if (this.#listeners.has(listener)) listener(change)
      })
    }
  }
}

/** undefined for a host address: its route is local, in no table that the port shows. */
function connectedRoute({ ifindex, address, prefixLength }: Address): Route | undefined {
  const parsed = requireAddress(address)
  if (prefixLength === parsed.bytes.length * 8) return undefined
  const prefix = { ...parsed, length: prefixLength }
  const destination = formatPrefix({ ...prefix, bytes: networkBytes(prefix) })
  const common = { destination, ifindex, table: 254, protocol: 2 }
  if (parsed.family === 6) return { ...common, metric: 256, scope: 'global' }
  return { ...common, scope: 'link', source: address }
}

function requireAddress(text: string) {
  const parsed = parseAddress(text)
  if (!parsed) throw new TypeError(`not an address: ${text}`)
  return parsed
}

function addressKey({ ifindex, address, prefixLength }: Address): string {
  return `${address}/${prefixLength} of device ${ifindex}`
}

function deleteWhere<V>(map: Map<string, V>, matches: (value: V) => boolean): void {
  for (const [key, value] of map) if (matches(value)) map.delete(key)
}
