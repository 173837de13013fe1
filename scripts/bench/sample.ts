/** What several rounds of one measurement came to. */
export interface Sample {
  /** In the order of the rounds. */
  readonly values: readonly number[]
  readonly median: number
  readonly min: number
  readonly max: number
}

/** @throws RangeError for no values, or one that is not a number */
export function sample(values: readonly number[]): Sample {
  const sorted = values.toSorted((a, b) => a - b)
  const [min, max] = [sorted[0], sorted.at(-1)]
  if (min === undefined || max === undefined) throw new RangeError('a sample of no rounds')
  if (values.some(Number.isNaN)) throw new RangeError('a sample with a value that is not a number')
  return { values, min, max, median: quantile(sorted, 0.5) }
}

/** Linear between neighbours (type 7 of Hyndman and Fan 1996). @param sorted ascending, at least one @param q 0 to 1 */
export function quantile(sorted: readonly number[], q: number): number {
  const at = (sorted.length - 1) * q
  const low = sorted[Math.floor(at)] ?? Number.NaN
  const high = sorted[Math.ceil(at)] ?? Number.NaN
  return low + (high - low) * (at - Math.floor(at))
}

/** Round by round a - b: what is common to both rounds, the machine's mood among it, cancels out. @throws RangeError when they differ in length */
export function difference(a: Sample, b: Sample): Sample {
  return pairs(a, b, (x, y) => x - y)
}

/** Each round divided by a constant: a run that does a thing n times. */
export function per(a: Sample, n: number): Sample {
  return sample(a.values.map(value => value / n))
}

function pairs(a: Sample, b: Sample, combine: (x: number, y: number) => number): Sample {
  if (a.values.length !== b.values.length) throw new RangeError('samples of different rounds')
  return sample(a.values.map((x, round) => combine(x, b.values[round] ?? Number.NaN)))
}
