/**
 * Lets a packet for a WAN link leave by it. IPv4 takes a given device at its word; IPv6, once a source address is given, too, prefers the route of
 * the lowest metric on whichever device (net/ipv6/route.c, ip6_route_output_flags), so that with two uplinks a path would send to the other's
 * router. Each link's IPv6 routes therefore stand in a table of its own as well, which is asked for packets that name the link's device.
 */
import { KernelError } from '../kernel/error.ts'
import type { Network, Route, Rule } from '../kernel/port.ts'
import { TABLE } from './devices.ts'
import type { WanConfig, WanLink } from './links.ts'

/** One table for each place in the configuration, behind that of ipsec0. */
const FIRST_TABLE = TABLE + 1
const LINKS = 16
const RULE_PRIORITY = 2427

export function tableOf(link: { readonly index: number }): number {
  return FIRST_TABLE + link.index
}

/** Call after the network changed. With one IPv6 uplink there is nothing to choose, and nothing is made. @throws KernelError */
export async function ensureLinkRoutes(
  network: Network,
  wan: readonly WanConfig[],
  links: readonly WanLink[],
): Promise<void> {
  const speaking = links.filter(link => link.addresses.some(({ family }) => family === 6))
  const apart = speaking.length > 1 ? speaking : []
  const rules = (await network.rules()).filter(({ table }) => table >= FIRST_TABLE && table < FIRST_TABLE + LINKS)
  const main = apart.length > 0 ? (await network.routes()).filter(isIPv6) : []
  for (const link of apart) {
    const table = tableOf(link)
    await align(
      network,
      table,
      main.filter(({ ifindex }) => ifindex === link.ifindex),
    )
    const outInterface = wan[link.index]?.interface
    if (outInterface === undefined) continue
    const rule: Rule = { family: 6, outInterface, table, priority: RULE_PRIORITY }
    // After the routes: an empty table is passed over, half a table leads astray.
    if (!rules.some(present => sameRule(present, rule))) await network.addRule(rule)
  }
  for (const rule of rules) {
    if (apart.some(link => tableOf(link) === rule.table && wan[link.index]?.interface === rule.outInterface)) continue
    await network.deleteRule(rule)
    if (!apart.some(link => tableOf(link) === rule.table)) await align(network, rule.table, [])
  }
}

async function align(network: Network, table: number, wanted: readonly Route[]): Promise<void> {
  const present = (await network.routes(table)).filter(isIPv6)
  const [wantedNames, presentNames] = [new Set(wanted.map(nameOf)), new Set(present.map(nameOf))]
  // Subnets first: the kernel takes a gateway only where it can reach it.
  const missing = wanted.filter(route => !presentNames.has(nameOf(route)))
  for (const route of missing.toSorted((a, b) => Number(a.gateway !== undefined) - Number(b.gateway !== undefined)))
    await unlessGone(network.replaceRoute({ ...route, table, protocol: 4 }))
  for (const route of present) if (!wantedNames.has(nameOf(route))) await unlessGone(network.deleteRoute(route))
}

/** The network goes on changing; it will be looked at again. */
async function unlessGone(done: Promise<void>): Promise<void> {
  try {
    await done
  } catch (error) {
    const gone = ['ENOENT', 'ESRCH', 'ENODEV', 'ENETDOWN', 'ENETUNREACH', 'EHOSTUNREACH']
    if (!(error instanceof KernelError && gone.includes(error.code))) throw error
  }
}

function isIPv6({ destination }: Route): boolean {
  return destination.includes(':')
}

function nameOf({ destination, ifindex, gateway, metric, mtu }: Route): string {
  return `${destination} ${ifindex} ${gateway} ${metric} ${mtu}`
}

function sameRule(a: Rule, b: Rule): boolean {
  return a.family === b.family && a.outInterface === b.outInterface && a.table === b.table
}
