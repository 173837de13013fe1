/** Topology: bench.ts. The server says whom it sees. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FunctionBench, SERVER } from './bench.ts'

const NAT = { 4: '198.18.1.7', 6: '2001:db8:81::7' } as const

/** Who asks, as the server sees it; by a listener that takes one connection. */
async function seenBy(bench: FunctionBench, family: 4 | 6, port: number): Promise<string> {
  const server = bench.start('server', ['nc', `-${family}`, '-lvn', String(port)])
  await bench.listens('server', port)
  const before = bench.log.length
  await bench.exec('client', ['sh', '-c', `echo hello | nc -${family} -N -w 5 ${SERVER[family]} ${port}`])
  server.kill()
  return /received on (\S+)/.exec(bench.log.slice(before))?.[1] ?? bench.log.slice(before)
}

describe('nat', () => {
  let bench: FunctionBench

  beforeAll(async () => {
    bench = await FunctionBench.wire()
    await bench.run('nat', { BRANCHLINE_NAT4: NAT[4], BRANCHLINE_NAT6: NAT[6], BRANCHLINE_HEALTH: '127.0.0.1:8080' })
  })

  afterAll(() => bench.close())

  it.each([4, 6] as const)('IPv%i: the server sees the address of the instance, and answers arrive', async family => {
    expect(await seenBy(bench, family, 7000 + family)).toBe(NAT[family])
    const ping = await bench.exec('client', ['ping', `-${family}`, '-nc1', '-W2', SERVER[family]])
    expect(ping).toContain('1 received')
  })

  it.each([4, 6] as const)('IPv%i: nobody outside begins a connection to the address', async family => {
    const outcome = bench.exec('server', ['ping', `-${family}`, '-nc1', '-W1', NAT[family]])
    await expect(outcome).rejects.toThrow()
  })

  it('answers health checks', async () => {
    expect(await bench.exec('function', ['curl', '-s', 'http://127.0.0.1:8080/'])).toBe('good\n')
  })

  it('ends at SIGTERM with all that it started', async () => {
    expect(await bench.end()).toBe(0)
    expect(await bench.processes('function')).toEqual([])
  })
})

describe('nat without an address of one family', () => {
  it('refuses that family', async () => {
    const bench = await FunctionBench.wire()
    try {
      await bench.run('nat', { BRANCHLINE_NAT4: NAT[4] })
      expect(await seenBy(bench, 4, 7004)).toBe(NAT[4])
      await expect(bench.exec('client', ['nc', '-6', '-zw2', SERVER[6], '7006'])).rejects.toThrow()
    } finally {
      await bench.close()
    }
  })

  it('without any ends with a word', async () => {
    const bench = await FunctionBench.wire()
    await expect(bench.run('nat')).rejects.toThrow(/BRANCHLINE_NAT4 or BRANCHLINE_NAT6/)
    await bench.close()
  })
})
