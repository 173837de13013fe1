/** The gateways that 64-byte packets go through. Inside, everywhere: UDP from 10.1.0.2 to 10.2.0.2, 46 bytes of IP, a frame of 64 with its check sum. */
import { checkResult, mapUpdate } from '../../../agent/kernel/libbpf.ts'
import { parseMac } from '../../../agent/kernel/netlink/link.ts'
import { nexthopKind } from '../../../schema/abi.gen.ts'
import { StaticNode } from '../../../tests/net/dataplane/static-node.ts'
import { bareUdp, concat, ethernet, filler, ip, udp } from '../../../tests/packet/build.ts'
import { mp } from '../../../tests/packet/mp.ts'
import type { Random } from '../random.ts'
import { GATEWAY, Relay, SINK, SOURCE } from './tunnel-relay.ts'
import { mac } from './tunnel-sender.ts'

const INNER = ip({ src: '10.1.0.2', dst: '10.2.0.2' }, udp(1000, 2000, filler(18)))
const MTU = 1500

/** A gateway ready to be sent through. */
export interface Gateway extends Disposable {
  /** Million packets a second. */
  send(packets: number): Promise<number>
}

function frameFor(relay: Relay, payload: Uint8Array): Uint8Array {
  const dst = [...parseMac(mac(relay.gateway, 'wan-a'))]
  return ethernet(payload, { dst, src: [...parseMac(mac(relay.source, 'out'))] })
}

/** XDP that does no more than route: the floor of a gateway. */
export function bareForward(random: Random): Gateway {
  const relay = new Relay('bare', random, 'xdp')
  relay.gateway.run(`ip route add 10.2.0.0/24 via ${SINK}`)
  for (const device of ['wan-a', 'wan-b']) {
    const ifindex = relay.gateway.ifindex(device)
    relay.attachXdp(relay.gateway, device, 'forward')
    const value = new Uint8Array(Uint32Array.of(ifindex).buffer)
    const result = relay.gateway.enter(() => mapUpdate(relay.programs.map('ports'), value, value, 0n))
    checkResult(result, 'write', 'map ports')
  }
  relay.prepare({ frame: frameFor(relay, INNER) }, 0)
  return relay
}

const VNI = { source: 1, sink: 2 }
const VXLAN_PORT = 4789

/** Two VXLAN devices and the kernel's routing between them. */
export function vxlan(random: Random): Gateway {
  const relay = new Relay('vxlan', random, 'tc')
  const { gateway } = relay
  for (const [name, device, remote] of [
    ['source', 'wan-a', SOURCE],
    ['sink', 'wan-b', SINK],
  ] as const)
    gateway.run(
      `ip link add ${name} mtu 1450 type vxlan id ${VNI[name]} local ${GATEWAY[name]} remote ${remote} dev ${device} dstport ${VXLAN_PORT}`,
    )
  gateway.run('ip addr add 172.16.1.1/24 dev source')
  gateway.run('ip addr add 172.16.2.1/24 dev sink')
  for (const name of ['source', 'sink']) gateway.run(`ip link set ${name} up`)
  gateway.run('ip neigh replace 172.16.2.2 lladdr 02:00:00:00:00:02 nud permanent dev sink')
  gateway.run('ip route add 10.2.0.0/24 via 172.16.2.2')
  const header = Uint8Array.of(8, 0, 0, 0, 0, 0, VNI.source, 0)
  const inner = ethernet(INNER, { dst: [...parseMac(mac(gateway, 'source'))] })
  const outer = ip({ src: SOURCE, dst: GATEWAY.source }, bareUdp(50_000, VXLAN_PORT, concat(header, inner)))
  relay.prepare({ frame: frameFor(relay, outer) }, 0)
  return relay
}

const SID = { source: 0x100, sink: 0x200 }
const KEY = { source: [1n, 2n], sink: [3n, 4n] } as const

/** Our gateway between two clear tunnels; by tc alone where its devices have no native XDP. */
export class OurGateway implements Gateway {
  readonly relay: Relay
  readonly node: StaticNode

  constructor(random: Random, packets: number, hook: 'xdp' | 'tc') {
    const relay = new Relay(hook === 'xdp' ? 'ours' : 'ours-tc', random, hook)
    const node = new StaticNode(relay.gateway, { vaddr: '100.64.0.1', secure: false, mpMtu: MTU - 68 })
    this.relay = relay
    this.node = node
    for (const [name, device, remote] of [
      ['source', 'wan-a', SOURCE],
      ['sink', 'wan-b', SINK],
    ] as const) {
      const peer = SID[name] >> 8
      node.addWan(device, { segmenter: false, xdp: hook === 'xdp' })
      node.addSession(
        {
          sid: SID[name],
          remoteSid: 0x900,
          peer,
          vaddrRemote: `100.64.0.${peer + 1}`,
          txKey: [...KEY[name]],
          rxKey: [...KEY[name]],
          device,
          local: GATEWAY[name],
          remote,
          wanMtu: MTU,
        },
        { clear: MTU - 68, secure: 0 },
      )
      node.addRoute(`10.${peer}.0.0/24`, { kind: nexthopKind.NH_PEER, flags: 0, target: peer })
    }
    const message = mp({ session: SID.source, number: 0n }, INNER)
    const frame = frameFor(relay, ip({ src: SOURCE, dst: GATEWAY.source }, bareUdp(2426, 2426, message)))
    relay.prepare({ frame, mpAt: 42, key: KEY.source }, packets)
  }

  /** Every round sends the same numbers. */
  send(packets: number): Promise<number> {
    this.node.forget(SID.source)
    return this.relay.send(packets)
  }

  [Symbol.dispose](): void {
    this.node[Symbol.dispose]()
    this.relay[Symbol.dispose]()
  }
}
