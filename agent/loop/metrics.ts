/** What a process tells of itself, in the text form that Prometheus reads: shared by agent and orchestrator. */
import { Gauge, type Registry } from 'prom-client'
import type { LoopDelay } from './delay.ts'

/** How late its event loop runs, its memory and its CPU time. */
export function loopMetrics(registry: Registry, loop: LoopDelay): void {
  gauge(
    registry,
    'branchline_event_loop_delay_seconds',
    'How late the event loop ran in the last two minutes',
    ['quantile'],
    set => {
      const { p50Ms, p99Ms, maxMs } = loop.read()
      set({ quantile: '0.5' }, p50Ms / 1000)
      set({ quantile: '0.99' }, p99Ms / 1000)
      set({ quantile: '1' }, maxMs / 1000)
    },
  )
  gauge(registry, 'branchline_event_loop_delay_longest_seconds', 'The longest since the start', [], set =>
    set({}, loop.longestMs / 1000),
  )
  gauge(registry, 'process_resident_memory_bytes', 'Resident memory', [], set => set({}, process.memoryUsage.rss()))
  gauge(registry, 'process_cpu_seconds_total', 'CPU time of all threads', [], set => {
    const { user, system } = process.cpuUsage()
    set({}, (user + system) / 1e6)
  })
}

type Labels = Readonly<Record<string, string>>

/** Read when it is asked for. Also for totals, which live where they are counted. */
export function gauge(
  registry: Registry,
  name: string,
  help: string,
  labelNames: string[],
  read: (set: (labels: Labels, value: number) => void) => void,
): void {
  new Gauge({
    name,
    help,
    labelNames,
    registers: [registry],
    collect() {
      this.reset()
      read((labels, value) => this.set(labels, value))
    },
  })
}
