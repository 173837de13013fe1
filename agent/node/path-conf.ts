/** The outer addresses of a path: as the programs take them, and as they report them. */
import type { PathConf } from '../../schema/abi.gen.ts'
import { formatAddress, parseAddress } from '../../schema/address.ts'
import { pathRate } from '../mp/link-traits.ts'
import type { Endpoint } from '../mp/net.ts'
import type { WanLink } from './links.ts'
import { RATE_SHARE } from './queues.ts'

/**
 * Outer addresses of a path, from the two ends' addresses; its handle is given when it is installed.
 * @param peerMbps what the peer's end of the path takes
 */
export function pathConfOf(
  local: Endpoint,
  remote: Endpoint,
  link: Pick<WanLink, 'ifindex' | 'mtu' | 'segmenter' | 'upMbps'>,
  peerMbps?: number,
): PathConf {
  const [own, peer] = [parseAddress(local.address), parseAddress(remote.address)]
  if (!own || !peer || own.family !== peer.family)
    throw new TypeError(`no path between ${local.address} and ${remote.address}`)
  const wide = (bytes: Uint8Array) => {
    const field = new Uint8Array(16)
    field.set(bytes)
    return field
  }
  return {
    handle: 0,
    ifindex: link.ifindex,
    local: wide(own.bytes),
    remote: wide(peer.bytes),
    localPort: local.port,
    remotePort: remote.port,
    family: own.family,
    ttl: 64,
    mtu: link.mtu,
    segmentIfindex: link.segmenter,
    reserved: 0,
    rate: pathRate(link.upMbps === undefined ? undefined : link.upMbps * RATE_SHARE, peerMbps),
    delayUs: 0,
  }
}

/** An outer address as the programs report it. */
export function outerAddress(family: number, bytes: Uint8Array): string {
  return formatAddress(family === 4 ? bytes.subarray(0, 4) : bytes)
}
