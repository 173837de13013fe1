/** What an edge offers and a gateway answers, in tests, transcripts and benchmarks. Not part of the product; needs no test runner. */
import type { Signed } from '../../schema/grant.ts'
import type { InitPayload } from '../../schema/mpinit.ts'
import type { AcceptPayload } from './responder.ts'

/** The order of its members is that of the bytes in vectors/. */
export function offerOf(grant: Signed, change: Partial<InitPayload> = {}): Omit<InitPayload, 'timestamp'> {
  return {
    grant,
    replaces: null,
    subnets: [{ prefix: '10.1.1.0/24', reachable: true }],
    links: [{ path: 0, name: 'wan0', family: 4, mtu: 1500, spi: 0x1000 }],
    via: 0,
    capabilities: { esp: true },
    policyVersion: 1,
    virtualAddress: null,
    ...change,
  }
}

export function accepted(init: InitPayload): AcceptPayload {
  return {
    ok: true,
    virtualAddress: '100.64.0.2',
    peerAddress: '100.64.0.1',
    paths: init.links.map(({ path, mtu }) => ({ path, spi: 0x8000 + path, mtu })),
    capabilities: { esp: true },
    replaced: false,
    rekeyAfter: 3600,
  }
}
