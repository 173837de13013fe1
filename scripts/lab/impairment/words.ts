/** Words of the command line -> a profile: `--delay 20ms --loss 1% --rate 10mbit --match 0:0x0f=0x01`. */
import type { ParseArgsConfig } from 'node:util'
import { LabError } from '../error.ts'
import { DIRECTIONS, type Direction, type Profile, parseProfile } from './profile.ts'

export const IMPAIR_OPTIONS = {
  delay: { type: 'string' },
  jitter: { type: 'string' },
  loss: { type: 'string' },
  burst: { type: 'string' },
  'even-bursts': { type: 'boolean' },
  duplicate: { type: 'string' },
  corrupt: { type: 'string' },
  reorder: { type: 'string' },
  'reorder-by': { type: 'string' },
  rate: { type: 'string' },
  queue: { type: 'string' },
  blackhole: { type: 'boolean' },
  'larger-than': { type: 'string' },
  'smaller-than': { type: 'string' },
  match: { type: 'string' },
  direction: { type: 'string' },
  clear: { type: 'boolean' },
  with: { type: 'string' },
  seed: { type: 'string' },
} as const satisfies ParseArgsConfig['options']

/** As parseArgs gives them. */
export type ImpairWords = { readonly [name in keyof typeof IMPAIR_OPTIONS]?: string | boolean | undefined }

export const IMPAIR_USAGE = `  of impair, for --direction out (from the node), in, or both (default); what is not named is as on a good link:
    --delay 20ms  --jitter 5ms  --loss 1%  --burst 3 [--even-bursts]  --duplicate 1%  --corrupt 0.1%  --reorder 5% [--reorder-by 10ms]
    --rate 10mbit [--queue 50ms|64kb]  --blackhole  --clear
    only for packets: --larger-than 1300  --smaller-than 200  --match <offset>:<mask>=<value> in the UDP payload
    --with relay|netem|auto (default netem where the kernel has it)  --seed <n> (relay, when it starts)
    without any of these: shows what the link suffers and has counted`

const MILLISECONDS: Units = { us: 0.001, ms: 1, s: 1000 }
const BITS_PER_SECOND: Units = { bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9 }
/** As tc counts them: kb is 1024 bytes. */
const BYTES: Units = { b: 1, kb: 1024, mb: 1024 ** 2 }

type Units = Readonly<Record<string, number>>

/** undefined: no word changes anything. @throws LabError `input` naming the option and how it is written */
export function profileOfWords(words: ImpairWords): Profile | undefined {
  const text = (name: keyof ImpairWords) => (typeof words[name] === 'string' ? words[name] : undefined)
  const only = defined({
    largerThan: whole('larger-than', text('larger-than')),
    smallerThan: whole('smaller-than', text('smaller-than')),
    match: match(text('match')),
  })
  const profile = defined({
    delayMs: measure('delay', text('delay'), MILLISECONDS, '20ms'),
    jitterMs: measure('jitter', text('jitter'), MILLISECONDS, '5ms'),
    loss: share('loss', text('loss')),
    burst: measure('burst', text('burst'), { '': 1 }, '3'),
    evenBursts: words['even-bursts'] === true ? true : undefined,
    duplicate: share('duplicate', text('duplicate')),
    corrupt: share('corrupt', text('corrupt')),
    reorder: share('reorder', text('reorder')),
    reorderByMs: measure('reorder-by', text('reorder-by'), MILLISECONDS, '10ms'),
    rate: measure('rate', text('rate'), BITS_PER_SECOND, '10mbit'),
    ...queue(text('queue')),
    blackhole: words.blackhole === true ? true : undefined,
    only: Object.keys(only).length > 0 ? only : undefined,
  })
  const named = Object.keys(profile).length > 0
  if (words.clear && named) throw new LabError('input', '--clear excludes every impairment')
  return named || words.clear ? parseProfile(profile) : undefined
}

/** @throws LabError `input` */
export function directionsOfWord(word: string | boolean | undefined): readonly Direction[] {
  if (word === undefined || word === 'both') return DIRECTIONS
  const found = DIRECTIONS.filter(direction => direction === word)
  if (found.length === 0) throw new LabError('input', `--direction ${word}: out, in or both`)
  return found
}

function measure(name: string, text: string | undefined, units: Units, example: string): number | undefined {
  if (text === undefined) return undefined
  const [, digits = '', unit = ''] = /^(\d+(?:\.\d+)?)([a-z%]*)$/.exec(text.toLowerCase()) ?? []
  const factor = units[unit]
  if (digits === '' || factor === undefined) throw new LabError('input', `--${name} ${text}: write it like ${example}`)
  // Decimal units make binary fractions: 0.3mbit is 300000 bit/s.
  return Number((Number(digits) * factor).toPrecision(12))
}

function share(name: string, text: string | undefined): number | undefined {
  return measure(name, text, { '%': 0.01 }, '1%')
}

function whole(name: string, text: string | undefined): number | undefined {
  return measure(name, text, { '': 1 }, '1300')
}

function queue(text: string | undefined): { queueMs?: number | undefined; queueBytes?: number | undefined } {
  if (text !== undefined && /[^mu]?b$/i.test(text) && !/s$/i.test(text))
    return { queueBytes: measure('queue', text, BYTES, '50ms or 64kb') }
  return { queueMs: measure('queue', text, MILLISECONDS, '50ms or 64kb') }
}

/** `0:0x0f=0x01`: as many bytes as the mask has digits for. */
function match(text: string | undefined) {
  if (text === undefined) return undefined
  const [, offset, mask = '', value] = /^(\d+):0x([0-9a-f]{1,8})=0x([0-9a-f]{1,8})$/i.exec(text) ?? []
  if (value === undefined) throw new LabError('input', `--match ${text}: write it like 0:0x0f=0x01`)
  const bytes = Math.ceil(mask.length / 2)
  return { offset: Number(offset), bytes, mask: Number.parseInt(mask, 16), value: Number.parseInt(value, 16) }
}

/** Without what is undefined. */
function defined<T extends object>(object: T): Partial<T> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as Partial<T>
}
