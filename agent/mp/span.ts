const UNITS: readonly (readonly [seconds: number, name: string])[] = [
  [86_400, 'd'],
  [3_600, 'h'],
  [60, 'min'],
  [1, 's'],
]

/** A length of time for people, in its largest whole unit: `2 h`. @param seconds not negative */
export function spanText(seconds: number): string {
  const whole = Math.round(seconds)
  const [size, name] = UNITS.find(([unit]) => whole >= unit) ?? [1, 's']
  return `${Math.floor(whole / size)} ${name}`
}
