/**
 * One MP session as kernel resources (DESIGN §3-4): its entry, per path the outer addresses, the state that the programs keep, and with ESP an SA
 * pair and a policy. Sessions are immutable but for their paths' outer addresses; a rekey makes a new session and moves the peer over.
 */
import { randomInt } from 'node:crypto'
import type { PathConf } from '../../schema/abi.gen.ts'
import { ABI_FAMILY_NONE } from '../../schema/abi.gen.ts'
import { be32 } from '../../schema/address.ts'
import { plainTagState } from '../../schema/mp-tag.ts'
import { siphashKeyWords } from '../../schema/siphash.ts'
import type { Resource } from '../plan/resource.ts'
import type { LinkTraits } from './link-traits.ts'

export const REPLAY_WINDOW = 4096

export interface SessionPath extends LinkTraits {
  path: number
  /** Name of the edge's WAN link. */
  link: string
  /** SPIs chosen by this node and by the peer; 0 without ESP. */
  spiIn: number
  spiOut: number
  /** Largest outer packet that both ends' links allow. */
  mtu: number
  /** Largest that was found to get through, 0: none that is of use; absent: not found out yet. */
  carries?: number | undefined
  /** Undefined while the peer's outer address on this path is not known. Its handle follows from session and path, whatever it says. */
  conf: PathConf | undefined
}

export interface SessionSpec {
  /** As this node numbers it: what the peer puts into headers towards us. Low four bits zero. */
  sid: number
  remoteSid: number
  peer: number
  vrf: number
  vaddrLocal: string
  vaddrRemote: string
  policyVersion: number
  /** SipHash keys, 16 bytes, in this node's directions. */
  tagTx: Uint8Array
  tagRx: Uint8Array
  paths: SessionPath[]
  /** AES key and salt for one path, in this node's directions; absent: no ESP on one of the sides. */
  esp?: (path: number, direction: 'tx' | 'rx') => Uint8Array
}

/** SPIs below 256 are reserved (RFC 4303 §2.1). */
export function newSpi(taken: (spi: number) => boolean): number {
  for (;;) {
    const spi = randomInt(256, 2 ** 32)
    if (!taken(spi)) return spi
  }
}

export function handleOf(sid: number, path: number): number {
  return (sid | path) >>> 0
}

/** Whether what paths have in common is kept for a session: it takes two places or more (struct bundle in bpf/abi.h). */
export function hasBundle(paths: readonly { path: number }[]): boolean {
  return paths.some(({ path }) => path > 0)
}

export function sessionResources(session: SessionSpec): Resource[] {
  const { sid, vaddrLocal, vaddrRemote, esp } = session
  const [txKey, rxKey] = [siphashKeyWords(session.tagTx), siphashKeyWords(session.tagRx)]
  const resources: Resource[] = [
    {
      kind: 'session',
      sid,
      value: {
        sid,
        remoteSid: session.remoteSid,
        peer: session.peer,
        vrf: session.vrf,
        vaddrLocal: be32(vaddrLocal),
        vaddrRemote: be32(vaddrRemote),
        policyVersion: session.policyVersion,
        pathMask: session.paths.reduce((mask, { path }) => mask | (1 << path), 0),
        txKey,
        rxKey,
      },
    },
  ]
  if (hasBundle(session.paths)) resources.push({ kind: 'bundle', sid })
  for (const { path, spiIn, spiOut, conf, mtu } of session.paths) {
    const handle = handleOf(sid, path)
    resources.push(
      {
        kind: 'path-state',
        handle,
        txTag: plainTagState(txKey, session.remoteSid, path),
        rxTag: plainTagState(rxKey, sid, path),
      },
      { kind: 'path-conf', handle, value: { ...(conf ?? unknownConf(mtu)), handle } },
    )
    if (!esp) continue
    const common = { ifId: handle, replayWindow: REPLAY_WINDOW }
    resources.push(
      {
        kind: 'association',
        value: {
          ...common,
          direction: 'in',
          source: vaddrRemote,
          destination: vaddrLocal,
          spi: spiIn,
          key: esp(path, 'rx'),
        },
      },
      {
        kind: 'association',
        value: {
          ...common,
          direction: 'out',
          source: vaddrLocal,
          destination: vaddrRemote,
          spi: spiOut,
          key: esp(path, 'tx'),
        },
      },
      { kind: 'policy', value: { source: vaddrLocal, destination: vaddrRemote, ifId: handle } },
    )
  }
  return resources
}

/** Packets of the path are accepted, none can be sent on it. */
function unknownConf(mtu: number): PathConf {
  return {
    handle: 0,
    ifindex: 0,
    local: new Uint8Array(16),
    remote: new Uint8Array(16),
    localPort: 0,
    remotePort: 0,
    family: ABI_FAMILY_NONE,
    ttl: 0,
    mtu,
    segmentIfindex: 0,
    reserved: 0,
    rate: 0,
    delayUs: 0,
  }
}
