/** A clear tunnel beside plain forwarding, VXLAN and a bare XDP forward of the kernel, and tunnels in user space. */
import { removeNamespaces } from '../../../tests/net/dataplane/namespace.ts'
import { ratioAtLeast } from '../figure.ts'
import type { Bench, Suite } from '../suite.ts'
import { routePlain, routeVxlan } from './tunnel-kernel.ts'
import { Ours } from './tunnel-ours.ts'
import { Pair, PREFIX } from './tunnel-pair.ts'
import { tcpThroughput } from './tunnel-traffic.ts'

export const suite: Suite = {
  name: 'tunnel',
  about: 'a clear tunnel beside plain forwarding, VXLAN, a bare XDP forward and tunnels in user space',
  minutes: 10,
  async measure(bench) {
    removeNamespaces(PREFIX)
    await tcp(bench)
  },
}

async function tcp(bench: Bench): Promise<void> {
  using stack = new DisposableStack()
  const pair = (name: string) => stack.use(new Pair(name))
  const [plain, vxlan, ours] = [pair('plain'), pair('vxlan'), pair('ours')]
  routePlain(plain)
  routeVxlan(vxlan)
  stack.use(new Ours(ours))
  const seconds = bench.quick ? 1 : 3
  const through = (pair: Pair) => () => tcpThroughput(pair, seconds)
  const speed = await bench.compare(
    { ours: through(ours), plain: through(plain), vxlan: through(vxlan) },
    bench.quick ? 3 : 7,
  )
  const figure = (peer: 'vxlan' | 'plain', name: string, least: number) =>
    bench.figure({
      name: `TCP, packets of ${1500} bytes on the WAN`,
      value: speed.ours,
      unit: 'Gb/s',
      peer: { name, value: speed[peer] },
      bar: ratioAtLeast(least),
    })
  figure('vxlan', 'VXLAN', 0.85)
  figure('plain', 'plain forwarding', 0.7)
}
