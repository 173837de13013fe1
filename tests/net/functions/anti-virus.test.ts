/** Topology: bench.ts. The server has a clean file, the EICAR test file, and that file in an archive. */

import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EICAR } from '../../../scripts/lab/eicar.ts'
import { CLIENT, FunctionBench, SERVER } from './bench.ts'

const CLEAN_BYTES = 10 * 1024 * 1024

const url = (family: 4 | 6, port: number, path: string) =>
  `http://${family === 6 ? `[${SERVER[6]}]` : SERVER[4]}:${port}/${path}`

describe('anti-virus', () => {
  const clean = randomBytes(CLEAN_BYTES)
  let bench: FunctionBench

  beforeAll(async () => {
    bench = await FunctionBench.wire()
    const files = join(bench.folder, 'files')
    mkdirSync(files)
    writeFileSync(join(files, 'clean.bin'), clean)
    writeFileSync(join(files, 'eicar.com'), EICAR)
    execFileSync('tar', ['-czf', join(files, 'eicar.tar.gz'), '-C', files, 'eicar.com'])
    for (const port of [80, 81]) {
      bench.start('server', ['busybox', 'httpd', '-f', '-vv', '-p', `[::]:${port}`, '-h', files])
      await bench.listens('server', port)
    }
    await bench.run('anti-virus')
  })

  afterAll(() => bench.close())

  const get = (family: 4 | 6, port: number, path: string) =>
    bench.exec('client', [
      'curl',
      '-sS',
      '--max-time',
      '30',
      '-o',
      '-',
      '-w',
      '\n%{http_code}',
      url(family, port, path),
    ])

  it.each([4, 6] as const)('IPv%i: a clean file arrives as it is, and the server sees the client', async family => {
    const file = join(bench.folder, `got-${family}`)
    await bench.exec('client', ['curl', '-sS', '--fail', '--max-time', '30', '-o', file, url(family, 80, 'clean.bin')])
    const sum = await bench.exec('client', ['sha256sum', file])
    expect(sum.split(' ')[0]).toBe(createHash('sha256').update(clean).digest('hex'))
    expect(bench.log).toContain(`${CLIENT[family]}`)
  })

  it.each([
    [4, 'eicar.com'],
    [6, 'eicar.com'],
    [4, 'eicar.tar.gz'],
  ] as const)('IPv%i: %s is withheld, and a page says why', async (family, path) => {
    const answer = await get(family, 80, path)
    expect(answer).toMatch(/403$/)
    expect(answer).toContain('Eicar-Test-Signature')
    expect(answer).not.toContain(EICAR)
  })

  it('a virus that is sent is withheld from the server', async () => {
    const file = join(bench.folder, 'files/eicar.com')
    const answer = await bench.exec('client', [
      'curl',
      '-sS',
      '-m',
      '30',
      '--data-binary',
      `@${file}`,
      url(4, 80, 'post'),
    ])
    expect(answer).toContain('Eicar-Test-Signature')
  })

  it('other ports pass', async () => {
    expect(await get(4, 81, 'eicar.com')).toBe(`${EICAR}\n200`)
  })

  it('ends at SIGTERM with all that it started', async () => {
    expect(await bench.end()).toBe(0)
    expect(await bench.processes('function')).toEqual([])
  })
})
