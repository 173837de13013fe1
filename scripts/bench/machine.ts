/** What a figure was measured on. */
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'

export interface Machine {
  readonly kernel: string
  readonly cpu: string
  readonly cpus: number
  readonly memoryGiB: number
  readonly node: string
  /** Virtual machines measure their neighbours too. */
  readonly hypervisor: boolean
}

export function machine(): Machine {
  const info = readFileSync('/proc/cpuinfo', 'utf8')
  return {
    kernel: release(),
    cpu: cpus()[0]?.model ?? 'unknown',
    cpus: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.versions.node,
    hypervisor: /^flags\s*:.*\bhypervisor\b/m.test(info),
  }
}

export function describeMachine({ kernel, cpu, cpus, memoryGiB, node, hypervisor }: Machine): string {
  const kind = hypervisor ? 'virtual machine, ' : ''
  return `${kind}${cpus} x ${cpu}, ${memoryGiB} GiB, Linux ${kernel}, Node ${node}`
}
