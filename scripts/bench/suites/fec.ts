/** Protection by parity, 10 packets and 1: bpf/path/fec*.h in bpf/bench/fec.bpf.c, beside the same programs without. */
import { runProgram } from '../../../agent/kernel/prog-run.ts'
import { valueAtMost } from '../figure.ts'
import { BenchPrograms } from '../programs.ts'
import { difference } from '../sample.ts'
import type { Suite } from '../suite.ts'

/** Ethernet, outer IPv4 and UDP, MP header. */
const HEADERS = 14 + 28 + 40
const PAYLOAD = 1400
const TC_ACT_OK = 0
const K = 10

export const suite: Suite = {
  name: 'fec',
  about: 'protection by parity, 10 packets and 1, of 1400 bytes each, over the same program without',
  minutes: 2,
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
  },
}

function frame(): Uint8Array {
  return Uint8Array.from({ length: HEADERS + PAYLOAD }, (_, at) => (at * 31) & 0xff)
}
