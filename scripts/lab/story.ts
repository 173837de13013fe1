/**
 * How a scenario is told: steps as they happen, notes and figures, for people or as JSON lines. A bar is an upper limit, or with
 * `least` a lower one; without one a figure is printed only.
 *
 *   {"step":"VPN off: a1 does not reach b1","ok":true,"ms":812,"notes":["branch-a counted 3 x unreachable"]}
 *   {"scenario":"instant-vpn","ok":true,"kernel":"6.12…","figures":{"toggle-to-answer":{"value":41,"unit":"ms","bar":250,"ok":true}}}
 */
import { explain, LabError } from './error.ts'

export interface Figure {
  readonly value: number
  readonly unit: string
  readonly bar: number | null
  /** The bar is the lowest value that is good, not the highest. */
  readonly least?: true
  readonly ok: boolean
}

export interface Teller {
  step(name: string, result: { ok: boolean; ms: number; notes: readonly string[]; error?: string }): void
  end(result: { scenario: string; ok: boolean; kernel: string; figures: Readonly<Record<string, Figure>> }): void
}

export class Story {
  readonly #teller: Teller
  readonly #figures: Record<string, Figure> = {}
  #notes: string[] = []
  #ok = true
  /** already told with its step */
  #told: unknown

  constructor(teller: Teller) {
    this.#teller = teller
  }

  /** Steps do not nest. What the body throws ends the story. */
  async step<T>(name: string, body: () => Promise<T>): Promise<T> {
    const begin = performance.now()
    const tell = (error?: string) => {
      const ms = Math.round(performance.now() - begin)
      this.#teller.step(name, {
        ok: error === undefined,
        ms,
        notes: this.#notes,
        ...(error !== undefined && { error }),
      })
      this.#notes = []
    }
    try {
      const value = await body()
      tell()
      return value
    } catch (error) {
      this.#ok = false
      this.#told = error
      tell(explain(error))
      throw error
    }
  }

  /** What ended the story, whether in a step or between them. */
  fail(error: unknown): void {
    this.#ok = false
    if (error === this.#told) return
    this.#teller.step('the story goes on', { ok: false, ms: 0, notes: this.#notes, error: explain(error) })
    this.#notes = []
  }

  /** Told with the step that runs now. */
  note(text: string): void {
    this.#notes.push(text)
  }

  /** @param bar the highest value that is good; null: print only */
  figure(name: string, value: number, unit: string, bar: number | null): void {
    this.#figure(name, { value, unit, bar, ok: bar === null || value <= bar })
  }

  /** @param bar the lowest value that is good; null: print only */
  figureAtLeast(name: string, value: number, unit: string, bar: number | null): void {
    this.#figure(name, { value, unit, bar, ...(bar !== null && { least: true }), ok: bar === null || value >= bar })
  }

  #figure(name: string, figure: Figure): void {
    this.#figures[name] = figure
    if (!figure.ok) this.#ok = false
    this.note(`${name}: ${figure.value} ${figure.unit}${barOf(figure, ', ', '')}`)
  }

  /** @returns whether all held */
  end(scenario: string, kernel: string): boolean {
    this.#teller.end({ scenario, ok: this.#ok, kernel, figures: this.#figures })
    return this.#ok
  }
}

function barOf({ bar, least, ok }: Figure, before: string, after: string): string {
  if (bar === null) return ''
  const miss = least ? 'TOO LOW' : 'TOO HIGH'
  return `${before}bar ${least ? 'at least ' : ''}${bar}${ok ? '' : `: ${miss}`}${after}`
}

/** @throws LabError `claim` */
export function claim(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new LabError('claim', otherwise)
}

export const jsonTeller: Teller = {
  step: (step, result) => console.log(JSON.stringify({ step, ...result })),
  end: result => console.log(JSON.stringify(result)),
}

export const peopleTeller: Teller = {
  step(name, { ok, ms, notes, error }) {
    console.log(`${ok ? '  ok  ' : 'FAILED'}  ${name}  (${(ms / 1000).toFixed(1)} s)`)
    for (const note of notes) console.log(`          ${note}`)
    if (error !== undefined) console.log(`          ${error.replaceAll('\n', '\n          ')}`)
  },
  end({ scenario, ok, kernel, figures }) {
    console.log(`\n${scenario}: ${ok ? 'all of it holds' : 'NOT ok'}, on Linux ${kernel}`)
    for (const [name, figure] of Object.entries(figures))
      console.log(`  ${name.padEnd(36)} ${figure.value} ${figure.unit}${barOf(figure, '   (', ')')}`)
  },
}
