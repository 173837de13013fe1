/** The header's tag and the replay window: bpf/path/tag.h and window.h in bpf/bench/tag.bpf.c, beside the same programs without. */
import * as libbpf from '../../../agent/kernel/libbpf.ts'
import { runProgram, runXdp } from '../../../agent/kernel/prog-run.ts'
import { zeroPathState } from '../../../agent/plan/values.ts'
import { ABI_MP_HDR_LEN, mpHdrCodec, pathStateCodec } from '../../../schema/abi.gen.ts'
import { plainTagState } from '../../../schema/mp-tag.ts'
import { siphash24, siphashKeyWords } from '../../../schema/siphash.ts'
import { valueAtMost } from '../figure.ts'
import { BenchPrograms } from '../programs.ts'
import type { Random } from '../random.ts'
import { difference } from '../sample.ts'
import type { Bench, Suite, Verify } from '../suite.ts'

const ETHERNET = 14
const KEY = 16
/** MP_TAGGED_PAYLOAD of bpf/wire.h. */
const TAGGED_PAYLOAD = 16
const MESSAGE = ABI_MP_HDR_LEN + TAGGED_PAYLOAD
const TAG_AT = ABI_MP_HDR_LEN - 8
/** Verdicts that mean "accepted". */
const PASSED = { tc: 0, xdp: 2 } as const
const HOOKS = ['tc', 'xdp'] as const
type Hook = (typeof HOOKS)[number]

const SEND_NS = 30
const RECEIVE_NS = 32

export const suite: Suite = {
  name: 'tag',
  about: 'SipHash-2-4 tag of a header and replay window, over the same program without them',
  minutes: 2,
  verify(bench) {
    using programs = new BenchPrograms('tag', bench.random)
    for (const hook of HOOKS) {
      sameAsReference(bench, programs, hook)
      refusals(bench, programs, hook)
    }
  },
  async measure(bench) {
    using programs = new BenchPrograms('tag', bench.random)
    for (const hook of HOOKS) await times(bench, programs, hook)
  },
}

/**
 * The tag that a program sends is the one that schema/siphash.ts computes, which the published vectors prove. Every second packet has a class or
 * the like (an XDP sender keeps what the packet brings), so that both beginnings of the tag are seen.
 */
function sameAsReference({ random, check }: Verify, programs: BenchPrograms, hook: Hook): void {
  const rounds = 200
  let equal = 0
  for (let round = 0; round < rounds; round++) {
    const path = newPath(random)
    setPath(programs, path)
    const header = round % 2 ? bytes(random, ABI_MP_HDR_LEN) : new Uint8Array(ABI_MP_HDR_LEN)
    const sent = Buffer.concat([new Uint8Array(ETHERNET), header, bytes(random, TAGGED_PAYLOAD)])
    const { packet } = run(programs, hook, `${hook}_send`, sent)
    const message = packet.subarray(ETHERNET)
    const { session, path: id, tag } = mpHdrCodec.decode(message)
    if (tag === tagOf(path.key, message) && session + id === path.handle) equal++
  }
  check(`${hook}: tags equal to the reference, of ${rounds}`, equal, rounds)
}

/** A good packet is accepted, and none with a flipped bit, wherever it is: header, tag or tagged payload. */
function refusals({ random, check }: Verify, programs: BenchPrograms, hook: Hook): void {
  const path = newPath(random)
  const packet = signed(random, path)
  const accepted = (candidate: Uint8Array) => {
    setPath(programs, path)
    return run(programs, hook, `${hook}_receive`, candidate).verdict === PASSED[hook]
  }
  check(`${hook}: unchanged packet accepted`, Number(accepted(packet)), 1)
  let refused = 0
  for (let bit = 0; bit < MESSAGE * 8; bit++) {
    const flipped = Uint8Array.from(packet)
    const at = ETHERNET + (bit >> 3)
    flipped[at] = (flipped[at] ?? 0) ^ (1 << (bit & 7))
    if (!accepted(flipped)) refused++
  }
  check(`${hook}: packets with one flipped bit refused`, refused, MESSAGE * 8)
}

async function times(bench: Bench, programs: BenchPrograms, hook: Hook): Promise<void> {
  const path = newPath(bench.random)
  const packet = signed(bench.random, path)
  setPath(programs, path)
  const contender = (program: string) => programs.contender({ program: `${hook}_${program}`, packet, hook })
  const { send, sendWithout, receive, receiveWithout } = await bench.compare({
    send: contender('send'),
    sendWithout: contender('send_without'),
    receive: contender('receive'),
    receiveWithout: contender('receive_without'),
  })
  const [withoutIt, unit] = ['the whole program without', 'ns'] as const
  bench.figure({
    name: `send, ${hook}: tag`,
    value: difference(send, sendWithout),
    unit,
    peer: { name: withoutIt, value: sendWithout },
    bar: valueAtMost(SEND_NS),
  })
  bench.figure({
    name: `receive, ${hook}: tag and window`,
    value: difference(receive, receiveWithout),
    unit,
    peer: { name: withoutIt, value: receiveWithout },
    bar: valueAtMost(RECEIVE_NS),
  })
}

interface Path {
  readonly key: Uint8Array
  readonly handle: number
}

function newPath(random: Random): Path {
  return { key: bytes(random, KEY), handle: random.u32() }
}

/** What a sender of the path makes of a random payload: plain DATA with a right tag. */
function signed(random: Random, { key, handle }: Path): Uint8Array {
  const header = {
    versionType: 0x11,
    path: handle & 15,
    qos: 0,
    fec: 0,
    session: (handle & ~15) >>> 0,
    sequence: 0,
    servicePath: 0,
    number: BigInt(random.u32()),
    timestampUs: random.u32(),
    policyVersion: random.u32(),
  }
  const payload = bytes(random, TAGGED_PAYLOAD)
  const tag = tagOf(key, Buffer.concat([mpHdrCodec.encode({ ...header, tag: 0n }), payload]))
  return Buffer.concat([new Uint8Array(ETHERNET), mpHdrCodec.encode({ ...header, tag }), payload])
}

function tagOf(key: Uint8Array, message: Uint8Array): bigint {
  return siphash24(key, message.subarray(0, TAG_AT), message.subarray(ABI_MP_HDR_LEN, MESSAGE))
}

function run(programs: BenchPrograms, hook: Hook, program: string, packet: Uint8Array) {
  return (hook === 'tc' ? runProgram : runXdp)(programs.program(program), { packet })
}

/** A path that has sent and seen nothing. */
function setPath(programs: BenchPrograms, { key, handle }: Path): void {
  const plain = plainTagState(siphashKeyWords(key), (handle & ~15) >>> 0, handle & 15)
  const state = pathStateCodec.encode({ ...zeroPathState(), handle, txTag: plain, rxTag: plain })
  const value = Buffer.concat([key, state, new Uint8Array(8)])
  libbpf.checkResult(libbpf.mapUpdate(programs.map('paths'), new Uint8Array(4), value, 0n), 'write', 'map paths')
}

function bytes(random: Random, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.below(256))
}
