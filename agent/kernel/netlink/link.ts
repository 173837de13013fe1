/** RTM_*LINK: struct ifinfomsg and IFLA_* (include/uapi/linux/if_link.h). */
import { viewOf } from '../../../schema/codec.ts'
import type { Link, LinkSpec } from '../port.ts'
import { type Message, parseAttributes, readText, readU32, Writer } from './codec.ts'

export const RTM_NEWLINK = 16
export const RTM_DELLINK = 17
export const RTM_GETLINK = 18

const IFINFOMSG = 16
const IFLA_ADDRESS = 1
const IFLA_IFNAME = 3
const IFLA_MTU = 4
const IFLA_LINK = 5
const IFLA_LINKINFO = 18
const IFLA_EXT_MASK = 29
const IFLA_GSO_MAX_SEGS = 40
const IFLA_GSO_MAX_SIZE = 41
const IFLA_MACVLAN_MODE = 1
const MACVLAN_MODE_PRIVATE = 1
const IFLA_INFO_KIND = 1
const IFLA_INFO_DATA = 2
const VETH_INFO_PEER = 1
const IFLA_XFRM_COLLECT_METADATA = 3
const RTEXT_FILTER_SKIP_STATS = 1 << 3
const IFF_UP = 0x1
const IFF_LOWER_UP = 0x10000

export function parseLink({ payload }: Message): Link {
  const view = viewOf(payload)
  const flags = view.getUint32(8, true)
  const attributes = parseAttributes(payload, IFINFOMSG)
  const info = attributes.get(IFLA_LINKINFO)
  const kind = info && readText(parseAttributes(info).get(IFLA_INFO_KIND))
  return {
    ifindex: view.getInt32(4, true),
    name: readText(attributes.get(IFLA_IFNAME)) ?? '',
    kind,
    mtu: readU32(attributes.get(IFLA_MTU)) ?? 0,
    up: (flags & IFF_UP) !== 0,
    running: (flags & IFF_LOWER_UP) !== 0,
    mac: formatMac(attributes.get(IFLA_ADDRESS) ?? new Uint8Array()),
    parent: kind === 'macvlan' ? readU32(attributes.get(IFLA_LINK)) : undefined,
  }
}

/** One link by name, or every link. */
export function getLink(name?: string): Uint8Array {
  const writer = new Writer()
  writer.struct(IFINFOMSG)
  if (name !== undefined) writer.text(IFLA_IFNAME, name)
  return writer.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS).finish()
}

export function newLink(spec: LinkSpec): Uint8Array {
  const writer = new Writer()
  writer.struct(IFINFOMSG)
  writer.text(IFLA_IFNAME, spec.name).u32(IFLA_MTU, spec.mtu)
  if (spec.kind === 'macvlan')
    writer
      .u32(IFLA_LINK, spec.parent)
      .u32(IFLA_GSO_MAX_SIZE, spec.gsoMaxSize)
      .u32(IFLA_GSO_MAX_SEGS, spec.gsoMaxSegments)
  writer.nested(IFLA_LINKINFO, () => {
    writer.text(IFLA_INFO_KIND, spec.kind)
    if (spec.kind === 'veth') {
      writer.nested(IFLA_INFO_DATA, () =>
        writer.nested(VETH_INFO_PEER, () => {
          writer.struct(IFINFOMSG)
          writer.text(IFLA_IFNAME, spec.peer).u32(IFLA_MTU, spec.mtu)
        }),
      )
    }
    if (spec.kind === 'macvlan')
      writer.nested(IFLA_INFO_DATA, () => writer.u32(IFLA_MACVLAN_MODE, MACVLAN_MODE_PRIVATE))
    // One interface for all SAs: bpf/ipsec.bpf.c says which.
    if (spec.kind === 'xfrm') writer.nested(IFLA_INFO_DATA, () => writer.flag(IFLA_XFRM_COLLECT_METADATA))
  })
  return writer.finish()
}

export function deleteLink(ifindex: number): Uint8Array {
  const writer = new Writer()
  writer.struct(IFINFOMSG).setInt32(4, ifindex, true)
  return writer.finish()
}

export function changeLink(ifindex: number, change: { up?: boolean; mtu?: number }): Uint8Array {
  const writer = new Writer()
  const header = writer.struct(IFINFOMSG)
  header.setInt32(4, ifindex, true)
  if (change.up !== undefined) {
    header.setUint32(8, change.up ? IFF_UP : 0, true)
    header.setUint32(12, IFF_UP, true)
  }
  if (change.mtu !== undefined) writer.u32(IFLA_MTU, change.mtu)
  return writer.finish()
}

/** Lower case with colons; empty for devices without a link layer. */
export function formatMac(bytes: Uint8Array): string {
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join(':')
}

/** @throws TypeError when `text` is not a MAC address of six bytes */
export function parseMac(text: string): Uint8Array {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) throw new TypeError(`not a MAC address: ${text}`)
  return Uint8Array.from(text.split(':'), part => Number.parseInt(part, 16))
}
