/**
 * The test tiers in the order they run: cheap and telling first. A tier is vitest projects or commands.
 * To add one: a row here and, for vitest, a project of that name in vitest.config.ts.
 */

export type Tier = {
  readonly name: string
  readonly about: string
  /** the whole tier is ended after this */
  readonly minutes: number
  readonly steps: readonly Step[]
}

export type Step =
  | { readonly kind: 'command'; readonly argv: readonly string[] }
  | {
      readonly kind: 'vitest'
      readonly project: string
      /** where its files are; no file there fails the tier unless mayBeEmpty */
      readonly files: string
      readonly mayBeEmpty?: true
      /** the steps of a tier that ask for a guest share one, named in BRANCHLINE_TEST_GUEST */
      readonly guest?: 'named' | 'inside'
    }

const command = (...argv: string[]): Step => ({ kind: 'command', argv })

export const TIERS: readonly Tier[] = [
  {
    name: 'check',
    about: 'types, lint and format',
    minutes: 3,
    steps: [command('tsc', '--noEmit'), command('biome', 'check', '--error-on-warnings', '.')],
  },
  {
    name: 'codegen',
    about: 'generated files are what the generator makes',
    minutes: 3,
    steps: [command('bash', 'scripts/testing/codegen-unchanged')],
  },
  {
    name: 'unit',
    about: 'beside the code, no root needed',
    minutes: 5,
    steps: [{ kind: 'vitest', project: 'unit', files: '{agent,bpf,cli,orchestrator,schema,scripts}/**/*.test.ts' }],
  },
  {
    name: 'bpf',
    about: "every program passes this kernel's verifier, and leaves some stack",
    minutes: 3,
    steps: [command('node', 'scripts/bpf-load.ts'), command('node', 'scripts/bpf-stack.ts')],
  },
  {
    name: 'packet',
    about: 'packet in, verdict, bytes and counters out, by prog test run',
    minutes: 5,
    steps: [{ kind: 'vitest', project: 'packet', files: 'tests/packet/**/*.test.ts' }],
  },
  {
    name: 'bench',
    about: 'what the benchmarks take for granted: equal answers, refused forgeries; no timing',
    minutes: 5,
    steps: [{ kind: 'vitest', project: 'bench', files: 'tests/bench/**/*.test.ts' }],
  },
  {
    name: 'sim',
    about: 'hundreds of nodes on the fake kernel in one process',
    minutes: 5,
    steps: [{ kind: 'vitest', project: 'sim', files: 'tests/sim/**/*.test.ts' }],
  },
  {
    name: 'orchestrator',
    about: 'API and storage, on PGlite and PostgreSQL',
    minutes: 5,
    steps: [{ kind: 'vitest', project: 'orchestrator', files: 'tests/orchestrator/**/*.test.ts' }],
  },
  {
    name: 'regression',
    about: 'bugs that were fixed',
    minutes: 3,
    steps: [{ kind: 'vitest', project: 'regression', files: 'tests/regression/**/*.test.ts', mayBeEmpty: true }],
  },
  {
    name: 'net',
    about: "network namespaces on the host's kernel",
    minutes: 12,
    steps: [{ kind: 'vitest', project: 'net', files: 'tests/net/**/*.test.ts' }],
  },
  {
    name: 'guest',
    about: 'Linux 6.12 in QEMU: what needs ESP, xfrm interfaces or netem',
    minutes: 30,
    steps: [
      { kind: 'vitest', project: 'guest', files: 'tests/guest/*.test.ts', guest: 'named' },
      { kind: 'vitest', project: 'guest-inside', files: 'tests/guest/inside/**/*.test.ts', guest: 'inside' },
    ],
  },
  {
    name: 'lab',
    about: 'the stories that npm run lab tells',
    minutes: 20,
    steps: [{ kind: 'vitest', project: 'lab', files: 'tests/lab/**/*.test.ts' }],
  },
]

/** All tiers for no names. Throws when a name is unknown. */
export function selectTiers(names: readonly string[]): readonly Tier[] {
  const known = TIERS.map(tier => tier.name)
  const unknown = names.filter(name => !known.includes(name))
  if (unknown.length > 0) throw new Error(`no tier ${unknown.join(', ')}; there are: ${known.join(' ')}`)
  return names.length === 0 ? TIERS : TIERS.filter(tier => names.includes(tier.name))
}
