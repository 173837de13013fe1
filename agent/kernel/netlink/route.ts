/** RTM_*ROUTE: struct rtmsg and RTA_* (include/uapi/linux/rtnetlink.h). */
import { formatAddress, formatPrefix, networkBytes, type Prefix, parsePrefix } from '../../../schema/address.ts'
import { viewOf } from '../../../schema/codec.ts'
import type { Route } from '../port.ts'
import { AF_INET, AF_INET6, toBytes } from './address.ts'
import { type Attributes, type Message, parseAttributes, readU32, Writer } from './codec.ts'

export const RTM_NEWROUTE = 24
export const RTM_DELROUTE = 25
export const RTM_GETROUTE = 26

export const RT_TABLE_MAIN = 254

const RTMSG = 12
const RTA_DST = 1
const RTA_OIF = 4
const RTA_GATEWAY = 5
const RTA_PRIORITY = 6
const RTA_PREFSRC = 7
const RTA_METRICS = 8
const RTAX_MTU = 2
const RTA_MULTIPATH = 9
const RTA_TABLE = 15
const RTA_VIA = 18
const RTNEXTHOP = 8
const RTN_UNICAST = 1
const RTM_F_CLONED = 0x200
const RTNH_F_ONLINK = 4
const RTPROT_STATIC = 4
const SCOPES = { global: 0, link: 253, host: 254 } as const

export function getRoutes(family: number, table: number): Uint8Array {
  const writer = new Writer()
  writer.struct(RTMSG).setUint8(0, family)
  return writer.u32(RTA_TABLE, table).finish()
}

/** A route as one Route per next hop; nothing for anything but unicast routes. */
export function parseRoutes({ payload }: Message): Route[] {
  const view = viewOf(payload)
  const family = view.getUint8(0)
  if (view.getUint8(7) !== RTN_UNICAST || view.getUint32(8, true) & RTM_F_CLONED) return []
  const attributes = parseAttributes(payload, RTMSG)
  const bytes = attributes.get(RTA_DST) ?? new Uint8Array(family === AF_INET6 ? 16 : 4)
  const destination: Prefix = { family: family === AF_INET6 ? 6 : 4, bytes, length: view.getUint8(1) }
  const metric = readU32(attributes.get(RTA_PRIORITY))
  const source = attributes.get(RTA_PREFSRC)
  const scope = scopeName(view.getUint8(6))
  const metrics = attributes.get(RTA_METRICS)
  const mtu = metrics && readU32(parseAttributes(metrics, 0).get(RTAX_MTU))
  const common = {
    destination: formatPrefix(destination),
    table: readU32(attributes.get(RTA_TABLE)) ?? view.getUint8(4),
    protocol: view.getUint8(5),
    ...(metric !== undefined && { metric }),
    ...(source && { source: formatAddress(source) }),
    ...(scope && { scope }),
    ...(mtu !== undefined && { mtu }),
  }
  const multipath = attributes.get(RTA_MULTIPATH)
  const hops = multipath
    ? parseHops(multipath)
    : [{ ifindex: readU32(attributes.get(RTA_OIF)) ?? 0, flags: view.getUint32(8, true), attributes }]
  return hops.map(hop => {
    const gateway = gatewayOf(hop.attributes)
    return {
      ...common,
      ifindex: hop.ifindex,
      ...(gateway && { gateway }),
      ...(hop.flags & RTNH_F_ONLINK && { onlink: true }),
    }
  })
}

/** For RTM_NEWROUTE and RTM_DELROUTE; to delete, what is absent matches anything. */
export function routeMessage(route: Route, remove = false): Uint8Array {
  const prefix = parsePrefix(route.destination)
  if (!prefix) throw new TypeError(`not a prefix: ${route.destination}`)
  const family = prefix.family === 4 ? AF_INET : AF_INET6
  const table = route.table ?? RT_TABLE_MAIN
  const writer = new Writer()
  const header = writer.struct(RTMSG)
  header.setUint8(0, family)
  header.setUint8(1, prefix.length)
  header.setUint8(4, table < 256 ? table : 0)
  header.setUint8(5, route.protocol ?? (remove ? 0 : RTPROT_STATIC))
  header.setUint8(6, scopeNumber(route, family, remove))
  header.setUint8(7, remove ? 0 : RTN_UNICAST)
  header.setUint32(8, route.onlink ? RTNH_F_ONLINK : 0, true)
  if (prefix.length > 0) writer.bytes(RTA_DST, networkBytes(prefix))
  writer.u32(RTA_TABLE, table)
  writer.u32(RTA_OIF, route.ifindex)
  if (route.metric !== undefined) writer.u32(RTA_PRIORITY, route.metric)
  if (route.source !== undefined) writer.bytes(RTA_PREFSRC, toBytes(route.source).bytes)
  const { mtu } = route
  if (mtu !== undefined) writer.nested(RTA_METRICS, () => void writer.u32(RTAX_MTU, mtu))
  if (route.gateway !== undefined) writeGateway(writer, family, route.gateway)
  return writer.finish()
}

function writeGateway(writer: Writer, family: number, text: string): void {
  const gateway = toBytes(text)
  if (gateway.family === family) {
    writer.bytes(RTA_GATEWAY, gateway.bytes)
    return
  }
  // An IPv4 route over an IPv6 neighbour: struct rtvia.
  const via = new Uint8Array(2 + gateway.bytes.length)
  viewOf(via).setUint16(0, gateway.family, true)
  via.set(gateway.bytes, 2)
  writer.bytes(RTA_VIA, via)
}

function gatewayOf(attributes: Attributes): string | undefined {
  const gateway = attributes.get(RTA_GATEWAY) ?? attributes.get(RTA_VIA)?.subarray(2)
  return gateway && formatAddress(gateway)
}

/** struct rtnexthop, each with attributes of its own. */
function parseHops(value: Uint8Array): { ifindex: number; flags: number; attributes: Attributes }[] {
  const hops: { ifindex: number; flags: number; attributes: Attributes }[] = []
  const view = viewOf(value)
  for (let at = 0; at + RTNEXTHOP <= value.length; ) {
    const length = view.getUint16(at, true)
    if (length < RTNEXTHOP || at + length > value.length) break
    hops.push({
      ifindex: view.getInt32(at + 4, true),
      flags: view.getUint8(at + 2),
      attributes: parseAttributes(value.subarray(at, at + length), RTNEXTHOP),
    })
    at += (length + 3) & ~3
  }
  return hops
}

function scopeName(value: number): Route['scope'] {
  if (value === SCOPES.link) return 'link'
  if (value === SCOPES.host) return 'host'
  return value === SCOPES.global ? 'global' : undefined
}

function scopeNumber(route: Route, family: number, remove: boolean): number {
  if (route.scope) return SCOPES[route.scope]
  // As iproute2: RT_SCOPE_NOWHERE matches any when deleting; an IPv4 route without gateway is on-link. IPv6 knows no scopes.
  if (family === AF_INET6) return SCOPES.global
  if (remove) return 255
  return route.gateway === undefined ? SCOPES.link : SCOPES.global
}
