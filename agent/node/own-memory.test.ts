import { expect, it } from 'vitest'
import { mappedMaps, ownMemory } from './own-memory.ts'

it('leaves out the pages of BPF maps, and nothing else', async () => {
  const mapping = (name: string, kilobytes: number) =>
    `7f0000000000-7f0000100000 rw-s 00000000 00:0e 7   ${name}\nSize:   1024 kB\nKernelPageSize: 4 kB\nRss:   ${kilobytes} kB\nPss:  9 kB\n`
  const smaps =
    mapping('anon_inode:bpf-map', 100) + mapping('/usr/lib/libc.so.6', 50) + mapping('anon_inode:bpf-map', 7)
  expect(mappedMaps(smaps)).toBe(107 * 1024)
  expect(await ownMemory()).toBeGreaterThan(10e6)
  expect(await ownMemory()).toBeLessThanOrEqual(process.memoryUsage.rss() * 1.1)
})
