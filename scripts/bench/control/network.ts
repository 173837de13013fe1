/**
 * A gateway and its edges, each side a process in a namespace of its own:
 *
 *   edges: light edges, 198.18.0.0/15 ──wan0── wan0, 192.0.2.1: a whole agent, its programs and maps
 *
 * Route sessions go from the edges to the gateway's virtual address over the wire itself: what is measured is agents, and the tunnel has suites of its own.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Namespace, removeNamespaces, wire } from '../../../tests/net/dataplane/namespace.ts'
import { NODE_FLAGS } from '../../lab/program.ts'
import { Child } from './child.ts'
import type { Edges } from './edges.ts'
import type { Gateway } from './gateway.ts'

const PREFIX = 'bl-control-'

export class ControlNetwork implements Disposable {
  readonly #namespaces: Namespace[]
  readonly #directory = mkdtempSync(join(tmpdir(), 'branchline-control-'))
  readonly #bpffs = `/sys/fs/bpf/branchline-control-${process.pid}`
  readonly gateway: Child<Gateway>
  readonly edges: Child<Edges>

  static async start(): Promise<ControlNetwork> {
    const network = new ControlNetwork()
    try {
      const { state, staticKey } = await network.edges.ask('identify', undefined)
      await network.gateway.ask('start', { state, staticKey, directory: network.#directory, bpffs: network.#bpffs })
      return network
    } catch (error) {
      network[Symbol.dispose]()
      throw error
    }
  }

  private constructor() {
    removeNamespaces(PREFIX)
    const [gateway, edges] = [new Namespace(`${PREFIX}gateway`), new Namespace(`${PREFIX}edges`)]
    this.#namespaces = [gateway, edges]
    wire(gateway, 'wan0', edges, 'wan0')
    gateway.run('ip addr add 192.0.2.1/24 dev wan0')
    gateway.run('ip route add 198.18.0.0/15 via 192.0.2.2')
    edges.run('ip addr add 192.0.2.2/24 dev wan0')
    // Every address of the range is this machine's own, without 10,000 addresses on a device.
    edges.run('ip route add local 198.18.0.0/15 dev lo')
    edges.run('ip route add 100.64.0.0/16 via 192.0.2.1')
    this.gateway = new Child(gateway, 'gateway.ts', NODE_FLAGS)
    this.edges = new Child(edges, 'edges.ts')
  }

  [Symbol.dispose](): void {
    this.gateway[Symbol.dispose]()
    this.edges[Symbol.dispose]()
    for (const namespace of this.#namespaces) namespace[Symbol.dispose]()
    rmSync(this.#directory, { recursive: true, force: true })
    rmSync(this.#bpffs, { recursive: true, force: true })
  }
}
