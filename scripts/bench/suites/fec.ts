/** Protection by parity, 10 packets and 1: bpf/path/fec*.h in bpf/bench/fec.bpf.c, beside the same programs without. */
import { runProgram } from '../../../agent/kernel/prog-run.ts'
import { removeNamespaces } from '../../../tests/net/dataplane/namespace.ts'
import { ratioAtLeast, valueAtMost } from '../figure.ts'
import { BenchPrograms } from '../programs.ts'
import { difference } from '../sample.ts'
import type { Bench, Suite } from '../suite.ts'
import { ProtectedPair } from './fec-pair.ts'
import { PREFIX } from './tunnel-pair.ts'
import { tcpThroughput } from './tunnel-traffic.ts'

/** Ethernet, outer IPv4 and UDP, MP header. */
const HEADERS = 14 + 28 + 40
const PAYLOAD = 1400
const TC_ACT_OK = 0
const K = 10

export const suite: Suite = {
  name: 'fec',
  about: 'protection by parity, 10 packets and 1, of 1400 bytes each, over the same program without',
  minutes: 5,
  verify({ random, check }) {
    const packet = frame()
    for (const program of ['send', 'receive']) {
      using programs = new BenchPrograms('fec', random)
      let passed = 0
      for (let at = 0; at < 4 * K; at++)
        if (runProgram(programs.program(program), { packet }).verdict === TC_ACT_OK) passed++
      check(`${program}: packets that went their way, of ${4 * K}`, passed, 4 * K)
    }
  },
  async measure(bench) {
    await perPacket(bench)
    removeNamespaces(PREFIX)
    await throughput(bench)
  },
}

async function perPacket(bench: Bench): Promise<void> {
  using programs = new BenchPrograms('fec', bench.random)
  const contender = (program: string) => programs.contender({ program, packet: frame() })
  const times = await bench.compare({
    send: contender('send'),
    sendWithout: contender('send_without'),
    receive: contender('receive'),
    receiveWithout: contender('receive_without'),
  })
  for (const [name, value, without] of [
    ['send', times.send, times.sendWithout],
    ['receive', times.receive, times.receiveWithout],
  ] as const)
    bench.figure({
      name: `${name}: protection`,
      value: difference(value, without),
      unit: 'ns',
      peer: { name: 'the whole program without', value: without },
      bar: valueAtMost(60),
    })
}

/** From a host to a host over two edges. Parity and the copies that carry each group's last packet take their share of the link's devices, too. */
async function throughput(bench: Bench): Promise<void> {
  using stack = new DisposableStack()
  const pair = (name: string, fec: number) =>
    stack.use(new ProtectedPair(name, { fec, length: PAYLOAD, random: bench.random }))
  const [own, plain] = [pair('fec', K), pair('plain', 0)]
  const seconds = bench.quick ? 1 : 3
  const tcp = await bench.compare(
    { own: () => tcpThroughput(own.pair, seconds), plain: () => tcpThroughput(plain.pair, seconds) },
    bench.quick ? 3 : 7,
  )
  for (const each of [own, plain]) each.sink()
  const packets = bench.quick ? 50_000 : 200_000
  const rate = await bench.compare({ own: () => own.send(packets), plain: () => plain.send(packets) })
  bench.figure({
    name: `packets of ${PAYLOAD} bytes, host to host`,
    value: rate.own,
    unit: 'Mpps',
    peer: { name: 'without', value: rate.plain },
    bar: ratioAtLeast(0.85),
  })
  // Without a bar: what is protected leaves packet by packet, so TCP loses its offloads as well.
  bench.figure({
    name: 'TCP, host to host',
    value: tcp.own,
    unit: 'Gb/s',
    peer: { name: 'without, and with offloads', value: tcp.plain },
  })
}

function frame(): Uint8Array {
  return Uint8Array.from({ length: HEADERS + PAYLOAD }, (_, at) => (at * 31) & 0xff)
}
