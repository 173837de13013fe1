/** Topology: bench.ts. Ports tell nothing: HTTP is served on 2222 and SSH on 80. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { until } from '../../../scripts/lab/until.ts'
import { FunctionBench, SERVER } from './bench.ts'

const FILE = 'x'.repeat(3_000_000)

const url = (family: 4 | 6, path: string) => `http://${family === 6 ? `[${SERVER[6]}]` : SERVER[4]}:2222/${path}`

describe('dpi', () => {
  let bench: FunctionBench

  beforeAll(async () => {
    bench = await FunctionBench.wire()
    await bench.run('dpi', { DPI_BLOCK: 'SSH,BitTorrent' })
    writeFileSync(join(bench.folder, 'file'), FILE)
    bench.start('server', ['busybox', 'httpd', '-f', '-p', '[::]:2222', '-h', bench.folder])
    // Both families, and each connection its banner.
    bench.start('server', ['busybox', 'nc', '-ll', '-p', '80', '-e', 'sh', '-c', 'echo SSH-2.0-server; exec cat'])
    await bench.listens('server', 2222)
    await bench.listens('server', 80)
  })

  afterAll(() => bench.close())

  it.each([4, 6] as const)('IPv%i: names HTTP by what is said, and carries it', async family => {
    const got = await bench.exec('client', ['curl', '-sS', '--max-time', '20', url(family, 'file')])
    expect(got === FILE).toBe(true)
    expect(bench.log).toMatch(new RegExp(`"application":"HTTP[^"]*","blocked":false.*${SERVER[family]} 2222`))
  })

  it.each([4, 6] as const)('IPv%i: resets SSH at both ends', async family => {
    const speak = `exec 3<>/dev/tcp/${SERVER[family]}/80; echo SSH-2.0-OpenSSH_9.2 >&3; cat <&3`
    await expect(bench.exec('client', ['timeout', '20', 'bash', '-c', speak])).rejects.toThrow(/reset by peer/)
    expect(bench.log).toMatch(new RegExp(`"application":"SSH[^"]*","blocked":true.*${SERVER[family]} 80`))
    await until('the server is reset too', 20_000, async () => {
      const open = await bench.exec('server', ['ss', '-Htn', 'state', 'established', 'sport = :80'])
      return open === ''
    })
  })

  it('leaves what cannot be judged alone', async () => {
    expect(await bench.exec('client', ['ping', '-nc1', '-W2', '-s', '4000', SERVER[4]])).toContain('1 received')
  })

  it('ends at SIGTERM with all that it started, and lets nothing pass then', async () => {
    expect(await bench.end()).toBe(0)
    expect(await bench.processes('function')).toEqual([])
    await expect(bench.exec('client', ['curl', '-sS', '--max-time', '1', url(4, 'file')])).rejects.toThrow()
  })
})

it('refuses to block an application that nDPI does not know', async () => {
  const bench = await FunctionBench.wire()
  await expect(bench.run('dpi', { DPI_BLOCK: 'SSH,BitTorrnet' })).rejects.toThrow(/knows no application BitTorrnet/)
  await bench.close()
})
