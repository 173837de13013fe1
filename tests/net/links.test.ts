/**
 * WAN links of one node as the kernel has them, and the sockets of handshakes. Two uplinks; the default route prefers wan0.
 *
 *            wan0 10.1.0.2/24, fd01::2 -- net0 10.1.0.1, fd01::1
 *   node --<
 *            wan1 10.2.0.2/24, fd02::2 -- net1 10.2.0.1, fd02::1
 */
import { spawnSync } from 'node:child_process'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openLinuxKernel } from '../../agent/kernel/linux.ts'
import type { KernelPort } from '../../agent/kernel/port.ts'
import { silent } from '../../agent/log.ts'
import { linuxNet } from '../../agent/mp/net.ts'
import { type WanConfig, WanLinks } from '../../agent/node/links.ts'
import { enterFreshNamespace } from './namespace.ts'

const PORT = 2426
const WAN: WanConfig[] = [
  { name: 'inet', interface: 'wan0', families: [4, 6] },
  { name: 'lte', interface: 'wan1', families: [4, 6] },
]
const FAR = '203.0.113.9'
const FAR6 = 'fd99::9'

let namespace: { leave(): void }
let kernel: KernelPort
let links: WanLinks

beforeEach(() => {
  namespace = enterFreshNamespace()
  kernel = openLinuxKernel()
  run('ip link set lo up')
  for (const [n, net] of [
    [0, 1],
    [1, 2],
  ]) {
    run(`ip link add wan${n} type veth peer name net${n}`)
    run(`ip addr add 10.${net}.0.2/24 dev wan${n}`)
    run(`ip addr add fd0${net}::2/64 dev wan${n} nodad`)
    run(`ip link set wan${n} up`)
    run(`ip link set net${n} up`)
    run(`ip neigh add 10.${net}.0.1 lladdr 02:00:00:00:00:0${net} dev wan${n}`)
    run(`ip neigh add fd0${net}::1 lladdr 02:00:00:00:00:0${net} dev wan${n}`)
  }
  run('ip route add default via 10.1.0.1 dev wan0 metric 100')
  run('ip route add default via 10.2.0.1 dev wan1 metric 200')
  run('ip -6 route add default via fd01::1 dev wan0 metric 100')
  run('ip -6 route add default via fd02::1 dev wan1 metric 200')
  links = new WanLinks({
    wan: WAN,
    kernel,
    net: linuxNet,
    port: PORT,
    log: silent,
    onPacket: () => {},
  })
})
afterEach(() => {
  links.close()
  kernel.close()
  namespace.leave()
})

describe('handshake sockets', () => {
  it.each([
    ['10.1.0.2', FAR, 'wan0'],
    ['10.2.0.2', FAR, 'wan1'],
    ['fd01::2', FAR6, 'wan0'],
    ['fd02::2', FAR6, 'wan1'],
  ])('send from %s to %s by %s, whatever the default route prefers', async (from, to, device) => {
    await links.refresh()
    expect(await leavesBy(from, to)).toEqual([device])
  })

  it('are made anew when an address comes back on another device', async () => {
    await links.refresh()
    const first = links.socket('10.2.0.2')
    run('ip link del wan1')
    run('ip addr add 10.2.0.2/24 dev wan0')
    await links.refresh()
    expect(links.links.map(({ name }) => name)).toEqual(['inet'])
    expect(links.socket('10.2.0.2')).toBeDefined()
    expect(links.socket('10.2.0.2')).not.toBe(first)
    expect(await leavesBy('10.2.0.2', FAR)).toEqual(['wan0'])
  })

  it('hear what is sent to them', async () => {
    const heard: string[] = []
    links.close()
    links = new WanLinks({
      wan: [{ name: 'inet', interface: 'wan0', families: [4, 6] }],
      kernel,
      net: linuxNet,
      port: PORT,
      log: silent,
      onPacket: (packet, { link, from }) => heard.push(`${link.name} ${from.address} ${Buffer.from(packet)}`),
    })
    await links.refresh()
    const other = await linuxNet.datagram({ address: '10.2.0.2', port: 0 }, () => {})
    other.send(Buffer.from('hello'), { address: '10.1.0.2', port: PORT })
    await expect.poll(() => heard, { timeout: 2000 }).toEqual(['inet 10.2.0.2 hello'])
    other.close()
  })
})

describe('a link', () => {
  it('that loses its carrier is not usable, and is again when it has it', async () => {
    await links.refresh()
    expect(usable()).toEqual({ inet: true, lte: true })
    run('ip link set net1 down')
    await links.refresh()
    expect(usable()).toEqual({ inet: true, lte: false })
    run('ip link set net1 up')
    await links.refresh()
    expect(usable()).toEqual({ inet: true, lte: true })
  })

  it('that gets another address has sockets of that one only', async () => {
    await links.refresh()
    run('ip addr del 10.2.0.2/24 dev wan1')
    run('ip addr add 10.2.0.77/24 dev wan1')
    await links.refresh()
    expect(links.socket('10.2.0.2')).toBeUndefined()
    expect(links.socket('10.2.0.77')).toBeDefined()
    expect(links.links[1]?.addresses).toContainEqual({ family: 4, address: '10.2.0.77' })
  })

  it('whose device is gone is none', async () => {
    await links.refresh()
    run('ip link del wan1')
    await links.refresh()
    expect(links.links.map(({ name }) => name)).toEqual(['inet'])
    expect(links.socket('10.2.0.2')).toBeUndefined()
  })
})

describe('IPv6 routes of a link', () => {
  /** As bpf_redirect_neigh and the sockets ask. */
  const route = (device: string, from: string) => run(`ip -6 route get ${FAR6} oif ${device} from ${from}`)
  const tables = () => run('ip -6 rule').match(/oif wan\d lookup \d+/g)

  it('lead out of it, although the other is preferred', async () => {
    expect(route('wan1', 'fd02::2')).toContain('dev wan0')
    await links.refresh()
    expect(route('wan1', 'fd02::2')).toContain('via fd02::1 dev wan1')
    expect(route('wan0', 'fd01::2')).toContain('via fd01::1 dev wan0')
    expect(run('ip -6 route get fd02::77 oif wan1 from fd02::2')).not.toContain('via')
  })

  it('follow a new router, and a link that was down', async () => {
    await links.refresh()
    run('ip -6 route replace default via fd02::9 dev wan1 metric 200')
    await links.refresh()
    expect(route('wan1', 'fd02::2')).toContain('via fd02::9 dev wan1')
    run('ip link set wan1 down')
    await links.refresh()
    run('ip link set wan1 up')
    run('ip addr replace fd02::2/64 dev wan1 nodad')
    run('ip -6 route add default via fd02::1 dev wan1 metric 200')
    await links.refresh()
    expect(route('wan1', 'fd02::2')).toContain('via fd02::1 dev wan1')
  })

  it('have tables of their own while there are two such links, and one agent after the other uses the same', async () => {
    await links.refresh()
    const once = run('ip -6 route show table all')
    await links.refresh()
    expect(run('ip -6 route show table all')).toBe(once)
    expect(tables()).toEqual(['oif wan0 lookup 2427', 'oif wan1 lookup 2428'])
    run('ip link del wan1')
    await links.refresh()
    expect(tables()).toBeNull()
    expect(run('ip -6 route show table all')).not.toContain('table 242')
  })
})

function usable() {
  return Object.fromEntries(links.links.map(link => [link.name, link.usable]))
}

/** Devices that sent a burst from an address; more packets than the kernel's own multicast adds to any. */
async function leavesBy(from: string, to: string): Promise<string[]> {
  const before = sent()
  const burst = 100
  const grown = () => {
    const now = sent()
    return Object.keys(now).filter(device => (now[device] ?? 0) - (before[device] ?? 0) >= burst)
  }
  for (let n = 0; n < burst; n++) links.socket(from)?.send(Buffer.from('hello'), { address: to, port: PORT })
  await expect.poll(() => grown().length, { timeout: 2000 }).toBeGreaterThan(0)
  return grown()
}

/** Packets that left, by device. */
function sent(): Record<string, number> {
  const text = run('ip -j -s link')
  const rows = JSON.parse(text) as { ifname: string; stats64: { tx: { packets: number } } }[]
  return Object.fromEntries(
    rows.filter(({ ifname }) => ifname.startsWith('wan')).map(row => [row.ifname, row.stats64.tx.packets]),
  )
}

function run(command: string): string {
  const [file = '', ...words] = command.split(' ')
  const { status, stdout, stderr } = spawnSync(file, words, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command}: ${stderr}`)
  return stdout
}
