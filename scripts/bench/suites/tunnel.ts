/** A clear tunnel beside plain forwarding, VXLAN and a bare XDP forward of the kernel, and tunnels in user space. */
import { removeNamespaces } from '../../../tests/net/dataplane/namespace.ts'
import { ratioAtLeast } from '../figure.ts'
import type { Bench, Suite } from '../suite.ts'
import { bareForward, type Gateway, OurGateway, vxlan } from './tunnel-gateways.ts'
import { routePlain, routeVxlan } from './tunnel-kernel.ts'
import { Ours } from './tunnel-ours.ts'
import { Pair, PREFIX, WAN_MTU } from './tunnel-pair.ts'
import { tcpThroughput } from './tunnel-traffic.ts'
import { nebula, openvpn, tinc, UserspaceTunnel, userspacePackages } from './tunnel-userspace.ts'

export const suite: Suite = {
  name: 'tunnel',
  about: 'a clear tunnel beside plain forwarding, VXLAN, a bare XDP forward and tunnels in user space',
  packages: userspacePackages,
  minutes: 10,
  async measure(bench) {
    removeNamespaces(PREFIX)
    await tcp(bench)
    await small(bench)
  },
}

async function small(bench: Bench): Promise<void> {
  using stack = new DisposableStack()
  const packets = bench.quick ? 100_000 : 500_000
  const { random } = bench
  const ours = stack.use(new OurGateway(random, packets, 'xdp'))
  const tc = stack.use(new OurGateway(random, packets, 'tc'))
  const bare = stack.use(bareForward(random))
  const kernel = stack.use(vxlan(random))
  const through = (gateway: Gateway) => () => gateway.send(packets)
  const rate = await bench.compare({
    ours: through(ours),
    tc: through(tc),
    bare: through(bare),
    vxlan: through(kernel),
  })
  const name = '64-byte packets through a gateway'
  const unit = 'Mpps'
  bench.figure({ name, value: rate.ours, unit, peer: { name: 'VXLAN', value: rate.vxlan }, bar: ratioAtLeast(2) })
  bench.figure({
    name,
    value: rate.ours,
    unit,
    peer: { name: 'bare XDP forward', value: rate.bare },
    bar: ratioAtLeast(0.95),
  })
  bench.figure({ name: `${name} without XDP`, value: rate.tc, unit, peer: { name: 'VXLAN', value: rate.vxlan } })
}

async function tcp(bench: Bench): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const pair = (name: string) => stack.use(new Pair(name))
  const [plain, kernel, own] = [pair('plain'), pair('vxlan'), pair('ours')]
  routePlain(plain)
  routeVxlan(kernel)
  stack.use(new Ours(own))
  const [first, second, third] = [pair('nebula'), pair('tinc'), pair('openvpn')]
  stack.use(await UserspaceTunnel.start(first, nebula))
  stack.use(await UserspaceTunnel.start(second, tinc))
  stack.use(await UserspaceTunnel.start(third, openvpn))
  const seconds = bench.quick ? 1 : 3
  const through = (pair: Pair) => () => tcpThroughput(pair, seconds)
  const speed = await bench.compare(
    {
      ours: through(own),
      'plain forwarding': through(plain),
      VXLAN: through(kernel),
      nebula: through(first),
      tinc: through(second),
      OpenVPN: through(third),
    },
    bench.quick ? 3 : 7,
  )
  const figure = (peer: Exclude<keyof typeof speed, 'ours'>, least?: number) =>
    bench.figure({
      name: `TCP, packets of ${WAN_MTU} bytes on the WAN`,
      value: speed.ours,
      unit: 'Gb/s',
      peer: { name: peer, value: speed[peer] },
      ...(least !== undefined && { bar: ratioAtLeast(least) }),
    })
  figure('VXLAN', 0.85)
  figure('plain forwarding', 0.7)
  // Against each of them, and so against the best.
  for (const peer of ['nebula', 'tinc', 'OpenVPN'] as const) figure(peer, 5)
}
