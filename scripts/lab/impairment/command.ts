/** `npm run lab -- impair <node> <link> …`: changes what a link of a running lab suffers, or shows it. */
import { LabError } from '../error.ts'
import { findImpairment, type Impairment, type ImpairmentChoice, openImpairment } from '../impairment.ts'
import { Lab } from '../lab.ts'
import { DIRECTIONS, type Profile } from './profile.ts'
import type { LinkName } from './splice.ts'
import { directionsOfWord, type ImpairWords, profileOfWords } from './words.ts'

const CHOICES: readonly ImpairmentChoice[] = ['relay', 'netem', 'auto']

/** @returns the exit code. @throws LabError */
export async function impair(id: string, name: LinkName, words: ImpairWords & { json: boolean }): Promise<number> {
  const directions = directionsOfWord(words.direction)
  const profile = profileOfWords(words)
  const choice = choiceOf(words.with)
  const seed = seedOf(words.seed)
  const lab = Lab.find(id)
  // To look at a good link must not put anything into it.
  if (!profile && !choice) return show(name, findImpairment(lab, name), words.json)
  const options = { ...(choice && { with: choice }), ...(seed !== undefined && { seed }) }
  const link = await openImpairment(lab, name, options)
  for (const direction of directions) if (profile) await link.set(direction, profile)
  return show(name, link, words.json)
}

async function show({ node, link: name }: LinkName, link: Impairment | undefined, json: boolean): Promise<number> {
  const counters = await link?.counters()
  const directions = DIRECTIONS.map(direction => ({
    direction,
    profile: link?.profile(direction) ?? {},
    counters: counters?.[direction],
  }))
  const { kind = null, seed } = link ?? {}
  if (json) {
    console.log(JSON.stringify({ node, link: name, with: kind, seed, directions }))
    return 0
  }
  console.log(`${node} ${name}: ${kind ?? 'good'}${seed === undefined ? '' : `, seed ${seed}`}`)
  for (const each of directions) {
    if (!link) break
    const counted = Object.entries(each.counters ?? {}).filter(([, count]) => count > 0)
    console.log(`  ${each.direction.padEnd(5)}${describe(each.profile)}`)
    console.log(`       ${counted.map(([cause, count]) => `${cause} ${count}`).join(', ') || 'nothing came yet'}`)
  }
  return 0
}

function describe(profile: Profile): string {
  const settings = Object.entries(profile).map(([name, value]) => `${name} ${JSON.stringify(value)}`)
  return settings.join(', ') || 'good'
}

function choiceOf(word: string | boolean | undefined): ImpairmentChoice | undefined {
  if (word === undefined) return undefined
  const choice = CHOICES.find(each => each === word)
  if (!choice) throw new LabError('input', `--with ${word}: relay, netem or auto`)
  return choice
}

function seedOf(word: string | boolean | undefined): number | undefined {
  if (word === undefined) return undefined
  const seed = Number(word)
  // Zero asks the relay for one.
  if (!Number.isSafeInteger(seed) || seed < 1) throw new LabError('input', `--seed ${word}: a whole number from 1`)
  return seed
}
