/** Keeps README.md and docs/ honest: names, paths, commands, sizes and examples in them are those of the code. */
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { agentConfigSchema } from '../agent/config.ts'
import { clearMtu, secureMtu } from '../agent/mp/mtu.ts'
import {
  formatCookie,
  formatReset,
  INIT_KEM_LENGTH,
  INIT_OVERHEAD,
  RESPONSE_KEM_LENGTH,
  RESPONSE_OVERHEAD,
} from '../agent/mp/packets.ts'
import { servicesSchema } from '../agent/services/config.ts'
import { buildProgram } from '../cli/program.ts'
import { ABI_MP_HDR_LEN, counterNames, dropReasonNames, mpHdrCodec, mpTypeNames } from '../schema/abi.gen.ts'
import { COOKIE_NONCE_LENGTH, MAX_INIT, MIN_INIT, refusalCodeSchema, SEALED_COOKIE_LENGTH } from '../schema/mpinit.ts'
import { routeMessageSchema } from '../schema/route-messages.ts'
import { siphash24 } from '../schema/siphash.ts'

const REPO = resolve(import.meta.dirname, '..')
const pages = ['README.md', ...readdirSync(join(REPO, 'docs')).map(name => `docs/${name}`)].map(name => ({
  name,
  text: readFileSync(join(REPO, name), 'utf8'),
}))
const page = (name: string) => pages.find(each => each.name === name)?.text ?? ''

/** What stands in backticks, and the lines of code blocks. */
function codeOf(text: string): string[] {
  const blocks = [...text.matchAll(/^```[\w-]*\n(.*?)^```$/gms)].flatMap(([, body = '']) => body.split('\n'))
  const spans = [...text.replaceAll(/^```.*?^```$/gms, '').matchAll(/`([^`\n]+)`/g)].map(([, span = '']) => span)
  return [...blocks, ...spans]
}

/** Cells of the rows of the first table under a heading. */
function tableUnder(text: string, heading: string): string[][] {
  const lines = text.split('\n')
  const from = lines.findIndex(line => line.startsWith('#') && line.endsWith(` ${heading}`))
  const begin = lines.findIndex((line, at) => at > from && line.startsWith('|'))
  const end = lines.findIndex((line, at) => at > begin && !line.startsWith('|'))
  if (from < 0 || begin < 0) throw new Error(`no table under ${heading}`)
  const rows = lines.slice(begin + 2, end).map(line => line.split('|').slice(1, -1))
  return rows.map(cells => cells.map(cell => cell.trim()))
}

const namesIn = (cell = '') => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name)
const firstColumn = (rows: string[][]) => rows.flatMap(([first]) => namesIn(first))

describe('packet-path.md', () => {
  const text = page('docs/packet-path.md')

  it('explains every drop reason, and none that is gone', () => {
    const reasons = Object.values(dropReasonNames).filter(name => name !== 'none')
    expect(firstColumn(tableUnder(text, 'Drops')).toSorted()).toEqual(reasons.toSorted())
  })

  it('explains every counter, and none that is gone', () => {
    expect(firstColumn(tableUnder(text, 'Counters')).toSorted()).toEqual(Object.values(counterNames).toSorted())
  })

  it('marks the drops that are answered by ICMP', () => {
    const stages = ['route', 'chain', 'service'].map(name => readFileSync(join(REPO, `bpf/path/${name}.h`), 'utf8'))
    const answers = /(?:refuse\(j, |->answer = [^;]*;\s*return DROP\()DROP_(\w+)/g
    const answered = [...stages.join('').matchAll(answers)].map(([, name = '']) =>
      name.toLowerCase().replaceAll('_', '-'),
    )
    const starred = tableUnder(text, 'Drops').flatMap(([first = '']) => (first.endsWith('*') ? namesIn(first) : []))
    expect(starred.toSorted()).toEqual([...new Set(answered)].toSorted())
  })
})

describe('wire.md', () => {
  const text = page('docs/wire.md')

  it('computes the tag of the worked example as the code does', () => {
    const [, example = ''] = /^```tag-example\n(.*?)^```$/ms.exec(text) ?? []
    const rows = new Map(
      example.split('\n').map(line => {
        const [name = '', ...bytes] = line.split(/[ |]+/)
        return [name, Buffer.from(bytes.join(''), 'hex')]
      }),
    )
    const part = (name: string) => rows.get(name) ?? Buffer.alloc(0)
    const [header, payload] = [part('header'), part('payload')]
    expect([part('key').length, header.length, payload.length]).toEqual([16, 32, 28])
    expect(siphash24(part('key'), header, payload.subarray(0, 16))).toBe(part('tag').readBigUInt64BE())
    expect(mpHdrCodec.decode(Buffer.concat([header, part('tag')]))).toMatchObject({
      versionType: 0x11,
      path: 2,
      session: 0x0a1b2c30,
      number: 5n,
      timestampUs: 1_000_000,
      policyVersion: 1,
    })
  })

  it('draws the header as bpf/wire.h does', () => {
    const drawing = (source: string) =>
      source.match(/^[ *]*[|+].*[|+]( +\d+)?$/gm)?.map(line => line.replace(/^[ *]+/, ''))
    const header = drawing(readFileSync(join(REPO, 'bpf/wire.h'), 'utf8'))
    expect(header).toHaveLength(21)
    expect(drawing(text.slice(text.indexOf('## 2. MP header'), text.indexOf('| bytes |')))).toEqual(header)
  })

  it('lists the types', () => {
    const listed = tableUnder(text, 'Types').map(([value, name = '']) => [value, name.toLowerCase().replace('_', '-')])
    expect(listed).toEqual(Object.entries(mpTypeNames))
  })

  it('gives the sizes of the handshake', () => {
    const cookie = formatCookie(1, Buffer.alloc(COOKIE_NONCE_LENGTH), Buffer.alloc(SEALED_COOKIE_LENGTH)).length
    const rows = [
      `| INIT | ${MIN_INIT} to ${MAX_INIT}, ${INIT_OVERHEAD} beside its payload |`,
      `| RESPONSE | ${RESPONSE_OVERHEAD} beside its payload; never longer than the INIT |`,
      `| COOKIE | ${cookie} |`,
      `| RESET | ${formatReset(1).length} |`,
      `| INIT_KEM | ${INIT_KEM_LENGTH} |`,
      `| RESPONSE_KEM | ${RESPONSE_KEM_LENGTH} |`,
    ]
    expect(text).toContain(rows.join('\n'))
  })

  it('gives the largest inner packets', () => {
    const rows = tableUnder(text.slice(text.indexOf('The largest inner packet')).replace(/^/, '# x\n'), 'x')
    expect(rows).toHaveLength(6)
    for (const [wan, outer, clear, secure, mss] of rows) {
      const family = outer === 'IPv4' ? 4 : 6
      const largest = secureMtu(Number(wan), family)
      expect([clear, secure, mss]).toEqual([
        String(clearMtu(Number(wan), family)),
        String(largest),
        `${largest - 40} / ${largest - 60}`,
      ])
    }
  })

  it('names every refusal and every route message', () => {
    const spans = new Set(codeOf(text))
    const messages = routeMessageSchema.options.map(({ shape }) => shape.type.value)
    for (const name of [...refusalCodeSchema.options, ...messages]) expect(spans, name).toContain(name)
    expect(text).toContain(`| MP header | ${ABI_MP_HDR_LEN} | ${ABI_MP_HDR_LEN} |`)
  })
})

describe('operations.md', () => {
  it('gives the timers of the agent with their defaults', () => {
    const { timers } = agentConfigSchema.parse({ wan: [{ name: 'inet', interface: 'wan0' }] })
    const rows = page('docs/operations.md').matchAll(/^\| `(\w+(?:Ms|S))` \| (\d+) \|/gm)
    expect(Object.fromEntries([...rows].map(([, name = '', value]) => [name, Number(value)]))).toEqual(timers)
  })

  it('explains messages that there are', () => {
    const sources = globSync('{agent,cli,orchestrator}/**/*.ts', {
      cwd: REPO,
      exclude: path => path.endsWith('.test.ts'),
    })
    const raw = sources.map(path => readFileSync(join(REPO, path), 'utf8')).join('\n')
    // Values that a message quotes are written as dots in the page.
    const written = raw + raw.replaceAll(/\$\{[^}]*\}/g, '...')
    const rows = tableUnder(page('docs/operations.md'), 'When something is wrong')
    const messages = firstColumn(rows).filter(name => !name.startsWith('branchline '))
    expect(messages.length).toBeGreaterThan(30)
    const parts = messages
      .flatMap(message => message.split('...'))
      .map(part => part.trim())
      .filter(part => part.length > 1)
    expect(parts.filter(part => !written.includes(part))).toEqual([])
  })

  it('shows configurations that the agent takes, whole or a section', () => {
    const blocks = [...page('docs/operations.md').matchAll(/^```json\n(.*?)^```$/gms)].map(([, json = '']) => json)
    expect(blocks).toHaveLength(2)
    const wan = [{ name: 'inet', interface: 'wan0' }]
    for (const json of blocks) expect(agentConfigSchema.safeParse({ wan, ...JSON.parse(json) }).error).toBeUndefined()
  })

  it('gives the settings of service functions with their defaults', () => {
    const driver = { kind: 'namespace', run: '/nat/run' }
    const [filled = {}] = servicesSchema.parse({ functions: [{ name: 'nat', driver }] }).functions
    const rows = tableUnder(page('docs/operations.md'), 'Service functions of a gateway')
    expect(rows.flatMap(([names]) => namesIn(names)).toSorted()).toEqual(
      [...Object.keys(filled), 'capacityConnections'].filter(name => name !== 'name').toSorted(),
    )
  })
})

describe('commands', () => {
  const program = buildProgram()
  const visible = (command: Command) =>
    command
      .createHelp()
      .visibleCommands(command)
      .filter(child => child.name() !== 'help')
  const leaves = (command: Command, words: string): string[] => {
    const children = visible(command)
    return children.length === 0 ? [words] : children.flatMap(child => leaves(child, `${words} ${child.name()}`))
  }
  const uses = pages
    .filter(({ name }) => name !== 'docs/wire.md')
    .flatMap(({ name, text }) =>
      codeOf(text).flatMap(code =>
        [...code.matchAll(/\bbranchline ((?:--[\w-]+(?: <[^>]*>)? )*[a-z].*)/g)].map(([, words = '']) => ({
          name,
          words,
        })),
      ),
    )

  it.each(leaves(program, 'branchline'))('%s is documented', words => {
    // Options of the program may stand before the verb.
    const pattern = new RegExp(`${words.replace('branchline ', 'branchline (--\\S+ (<[^>]*> )?)*')}(?![\\w-])`)
    expect(pages.some(({ text }) => codeOf(text).some(code => pattern.test(code)))).toBe(true)
  })

  it('that the pages show exist, with their options', () => {
    expect(uses.length).toBeGreaterThan(40)
    for (const { name, words } of uses) {
      const bare = words.replace(/#.*/, '').replaceAll(/<[^>]*>/g, 'x')
      let command = program
      for (const word of bare.replaceAll(/--[\w-]+ x /g, '').split(' ')) {
        const child = visible(command).find(each => each.name() === word)
        if (!child) break
        command = child
      }
      expect(command, `${name}: branchline ${words}`).not.toBe(program)
      expect(visible(command), `${name}: branchline ${words} is no whole command`).toEqual([])
      const known = [...command.options, ...program.options].map(option => option.long)
      for (const [option] of bare.matchAll(/--[a-z-]+/g))
        expect(known, `${name}: branchline ${words}`).toContain(option)
    }
  })
})

describe('paths and links', () => {
  const root = /^(?:agent|bpf|cli|docs|orchestrator|schema|scripts|tests|vagrant)\/[\w./-]*$/

  it.each(pages)('of $name exist', ({ name, text }) => {
    const paths = codeOf(text)
      .flatMap(code => code.split(/[\s`'",;:()]+/))
      .filter(word => root.test(word))
    const links = [...text.matchAll(/\]\(([^)#:]+)\)/g)].map(([, link = '']) => join(dirname(name), link))
    const missing = [...paths, ...links].filter(path => !existsSync(join(REPO, path)))
    expect(missing).toEqual([])
  })

  it('npm scripts exist', () => {
    const { scripts } = JSON.parse(readFileSync(join(REPO, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>
    }
    const used = pages.flatMap(({ text }) => [...text.matchAll(/npm run ([a-z]+)/g)].map(([, script = '']) => script))
    expect(used.filter(script => !(script in scripts))).toEqual([])
  })
})
