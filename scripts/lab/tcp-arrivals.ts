/** What a capture at a receiving host tells of one TCP connection: how fast it was, and in which order its segments came. */
import { type Captured, transportOf } from './pcap.ts'

export interface TcpArrivals {
  /** that carry data */
  readonly segments: number
  /** of these, that came behind one that was sent later */
  readonly outOfOrder: number
  /** of the longest segment */
  readonly mss: number
  /** Mb/s of bytes that came for the first time, behind `skipMs` */
  readonly mbps: number
}

const TCP = 6
const LEAST_HEADER = 20
const OPTION = { end: 0, noOperation: 1, timestamps: 8 } as const
const TIMESTAMPS_LENGTH = 10

interface Segment {
  readonly sequence: number
  readonly length: number
  /** TSval (RFC 7323), by which the sender's clock says when it left */
  readonly sentMs: number
}

/**
 * The network turned two segments round when one comes behind its nearest successor in the stream, but did not leave later. One that was lost and is
 * sent again left later than the successor, if that was not sent again too.
 * @param skipMs from the first segment: how long the connection needs to find its rate
 */
export function tcpArrivals(packets: Iterable<Captured>, port: number, skipMs: number): TcpArrivals {
  let [segments, outOfOrder, mss] = [0, 0, 0]
  const came = new Came()
  let [firstS, beginS, beginBytes, endS] = [0, 0, 0, 0]
  for (const { time, ethertype, packet } of packets) {
    const segment = segmentOf(ethertype, packet, port)
    if (!segment) continue
    if (segments++ === 0) firstS = time
    mss = Math.max(mss, segment.length)
    if (came.add(segment)) outOfOrder++
    if (beginS === 0 && (time - firstS) * 1000 >= skipMs) [beginS, beginBytes] = [time, came.end]
    endS = time
  }
  const mbps = beginS > 0 && endS > beginS ? ((came.end - beginBytes) * 8) / (endS - beginS) / 1e6 : 0
  return { segments, outOfOrder, mss, mbps }
}

/** The segments so far, by their place in the stream, which begins where the first one did. */
class Came {
  readonly #begins: number[] = []
  readonly #sentMs: number[] = []
  #base: number | undefined
  /** of the stream, as far as it is known */
  end = 0

  /** @returns whether it is out of order */
  add({ sequence, length, sentMs }: Segment): boolean {
    this.#base ??= sequence
    // The nearest to the end of all places with these 32 bits.
    const begin = this.end + ((sequence - this.#base - this.end) | 0)
    this.end = Math.max(this.end, begin + length)
    let at = this.#begins.length
    while (at > 0 && (this.#begins[at - 1] ?? 0) >= begin) at--
    const again = this.#begins[at] === begin
    const successor = this.#sentMs[again ? at + 1 : at]
    if (!again) this.#begins.splice(at, 0, begin)
    this.#sentMs.splice(at, again ? 1 : 0, sentMs)
    return !again && successor !== undefined && ((sentMs - successor) | 0) <= 0
  }
}

/** undefined: no data for the port. Without timestamps order could not be told. @throws RangeError */
function segmentOf(ethertype: number, packet: Buffer, port: number): Segment | undefined {
  const transport = transportOf(ethertype, packet)
  if (transport?.protocol !== TCP || transport.payload.length < LEAST_HEADER) return undefined
  const { payload: tcp, length } = transport
  const header = (tcp.readUInt8(12) >> 4) * 4
  if (tcp.readUInt16BE(2) !== port || length <= header) return undefined
  const sentMs = timestampOf(tcp.subarray(LEAST_HEADER, header))
  if (sentMs === undefined) throw new RangeError('a TCP segment without timestamps')
  return { sequence: tcp.readUInt32BE(4), length: length - header, sentMs }
}

function timestampOf(options: Buffer): number | undefined {
  for (let at = 0; at < options.length; ) {
    const kind = options.readUInt8(at)
    if (kind === OPTION.end) return undefined
    if (kind === OPTION.noOperation) {
      at++
      continue
    }
    if (kind === OPTION.timestamps && at + TIMESTAMPS_LENGTH <= options.length) return options.readUInt32BE(at + 2)
    const length = at + 1 < options.length ? options.readUInt8(at + 1) : 0
    if (length < 2) return undefined
    at += length
  }
  return undefined
}
