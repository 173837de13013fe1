/**
 * What a gateway knows of an enterprise's policy once it has checked it: who of its connections goes through which functions. The signed document
 * behind it is in schema/policy.ts. Prefixes are in canonical form.
 */
export interface ServicePolicy {
  readonly version: number
  /** Connections that an older version steered are steered anew. */
  readonly oldest: number
  /** Gateways that have a way to the Internet offer it to the enterprise's edges. */
  readonly internet: boolean
  /** The enterprise's traffic is carried by ESP: chains take and give nothing in clear. */
  readonly secure: boolean
  readonly chains: readonly ServiceChain[]
  /** In order: the first that matches decides. */
  readonly rules: readonly ServiceRule[]
}

/** An ordered list of functions, each at most once. */
export interface ServiceChain {
  readonly name: string
  readonly hops: readonly ServiceHop[]
}

export interface ServiceHop {
  readonly function: string
  /** Without a usable instance the hop is left out; else its connections are refused. */
  readonly failOpen: boolean
}

/** What the packet that begins a connection must be like, as it arrives at the gateway. */
export interface ServiceRule {
  readonly name: string
  /** The rule's number where people made it, for counters that outlive a rewrite. */
  readonly id: number
  readonly source: string
  readonly destination: string
  /** IP protocol; 0: any. */
  readonly proto: number
  /** Inclusive. */
  readonly sourcePorts: readonly [number, number]
  readonly destinationPorts: readonly [number, number]
  /** 0: any. */
  readonly application: number
  /** The connection walks the chain from its end. */
  readonly reverse: boolean
  /** null: not steered. */
  readonly chain: string | null
  /** Only counted. */
  readonly shadow: boolean
  /** Connections that an older version steered are steered anew. */
  readonly move: boolean
}
