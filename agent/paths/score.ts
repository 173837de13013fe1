/** How good a path is for a class of traffic, as one number: higher is better, and 20 % more is better by so much. */
import { trafficClass } from '../../schema/abi.gen.ts'

export interface Quality {
  /** Share of what is sent, 0 to 1. */
  loss: number
  rttMs: number
  jitterMs: number
  /** What the path carries, Mb/s; undefined: unknown. */
  mbps: number | undefined
}

/**
 * Of voice, 0 to 93: the E-model (ITU-T G.107) for G.711 with packet loss concealment (G.113, appendix I: Bpl 25.1), with the delay impairment as simplified by
 * Cole and Rosenbluth (Voice over IP performance monitoring, 2001). A jitter buffer makes delay of twice the jitter.
 */
export function rFactor({ loss, rttMs, jitterMs }: Quality): number {
  const delay = rttMs / 2 + 2 * jitterMs
  const delayImpairment = 0.024 * delay + 0.11 * Math.max(0, delay - 177.3)
  const percent = 100 * loss
  const lossImpairment = (95 * percent) / (percent + 25.1)
  return Math.max(0, 93.2 - delayImpairment - lossImpairment)
}

/** Packets of a short exchange, and what a lost one costs it: TCP's least retransmission timeout on Linux. */
const EXCHANGE_PACKETS = 10
const TIMEOUT_MS = 200

/** Short exchanges per second, one after the other: a round trip, and a timeout for each lost packet. */
export function exchangesPerSecond({ loss, rttMs }: Quality): number {
  return 1000 / (1 + rttMs + EXCHANGE_PACKETS * loss * Math.max(TIMEOUT_MS, 2 * rttMs))
}

const SEGMENT_BITS = 1400 * 8
/** Where nothing is lost: what TCP would need for a gigabit over 20 ms. */
const LEAST_LOSS = 1e-6
const UNKNOWN_MBPS = 1000

/** Mb/s of one long TCP connection: segment / round trip x 1.22 / sqrt(loss) (Mathis et al., 1997), at most what the path carries. */
export function throughput({ loss, rttMs, mbps = UNKNOWN_MBPS }: Quality): number {
  const model = (SEGMENT_BITS * 1.22) / (1000 * Math.max(1, rttMs) * Math.sqrt(Math.max(LEAST_LOSS, loss)))
  return Math.min(mbps * (1 - loss), model)
}

export function score(klass: number, quality: Quality): number {
  if (klass === trafficClass.CLASS_REALTIME) return rFactor(quality)
  return klass === trafficClass.CLASS_TRANSACTIONAL ? exchangesPerSecond(quality) : throughput(quality)
}
