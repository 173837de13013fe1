/**
 * Resident memory of this process, in bytes, without the pages of BPF maps that it has in its address space (the FIB's worker, the paths' times): those
 * are the kernel's, were there before the process and stay after it, and a gateway has a hundred megabytes of them.
 */
import { readFile } from 'node:fs/promises'

export async function ownMemory(): Promise<number> {
  return process.memoryUsage.rss() - mappedMaps(await readFile('/proc/self/smaps', 'utf8'))
}

/** @param smaps as in proc_pid_smaps(5) @returns bytes */
export function mappedMaps(smaps: string): number {
  const map = 'anon_inode:bpf-map\n'
  let kilobytes = 0
  for (let at = smaps.indexOf(map); at >= 0; at = smaps.indexOf(map, at + 1)) {
    const from = smaps.indexOf('Rss:', at) + 'Rss:'.length
    kilobytes += Number.parseInt(smaps.slice(from, from + 20), 10)
  }
  return kilobytes * 1024
}
