/** Device features over ethtool netlink (Documentation/networking/ethtool-netlink.rst). */
import { KernelError } from '../error.ts'
import type { NetlinkClient } from './client.ts'
import { listAttributes, type Message, parseAttributes, readText, Writer } from './codec.ts'

const GENL_ID_CTRL = 16
const CTRL_CMD_GETFAMILY = 3
const CTRL_ATTR_FAMILY_ID = 1
const CTRL_ATTR_FAMILY_NAME = 2
const GENLMSGHDR = 4
const ETHTOOL_GENL_VERSION = 1
const ETHTOOL_MSG_FEATURES_SET = 12
const ETHTOOL_A_FEATURES_HEADER = 1
const ETHTOOL_A_FEATURES_WANTED = 3
const ETHTOOL_A_HEADER_DEV_INDEX = 1
const ETHTOOL_A_BITSET_BITS = 3
const ETHTOOL_A_BITSET_BITS_BIT = 1
const ETHTOOL_A_BITSET_BIT_NAME = 2
const ETHTOOL_A_BITSET_BIT_VALUE = 3

/** @throws KernelError EOPNOTSUPP that names the features which the device would not change */
export async function setFeatures(
  client: NetlinkClient,
  ifindex: number,
  features: Readonly<Record<string, boolean>>,
): Promise<void> {
  const names = Object.keys(features).join(', ')
  const object = `features ${names} of device ${ifindex}`
  const [answer] = await client.request({
    type: await ethtoolFamily(client),
    payload: featuresMessage(ifindex, features),
    operation: 'set',
    object,
  })
  const refused = answer ? refusedFeatures(answer) : []
  if (refused.length > 0)
    throw new KernelError('set', object, 'EOPNOTSUPP', `the device does not change ${refused.join(', ')}`)
}

async function ethtoolFamily(client: NetlinkClient): Promise<number> {
  const writer = new Writer()
  genericHeader(writer, CTRL_CMD_GETFAMILY)
  const payload = writer.text(CTRL_ATTR_FAMILY_NAME, 'ethtool').finish()
  const [answer] = await client.request({ type: GENL_ID_CTRL, payload, operation: 'find', object: 'ethtool netlink' })
  const id = answer && parseAttributes(answer.payload, GENLMSGHDR).get(CTRL_ATTR_FAMILY_ID)
  if (!id) throw new KernelError('find', 'ethtool netlink', 'ENOENT')
  return new DataView(id.buffer, id.byteOffset, id.length).getUint16(0, true)
}

function featuresMessage(ifindex: number, features: Readonly<Record<string, boolean>>): Uint8Array {
  const writer = new Writer()
  genericHeader(writer, ETHTOOL_MSG_FEATURES_SET)
  writer.nested(ETHTOOL_A_FEATURES_HEADER, () => writer.u32(ETHTOOL_A_HEADER_DEV_INDEX, ifindex))
  writer.nested(ETHTOOL_A_FEATURES_WANTED, () =>
    writer.nested(ETHTOOL_A_BITSET_BITS, () => {
      for (const [name, on] of Object.entries(features)) {
        writer.nested(ETHTOOL_A_BITSET_BITS_BIT, () => {
          writer.text(ETHTOOL_A_BITSET_BIT_NAME, name)
          if (on) writer.flag(ETHTOOL_A_BITSET_BIT_VALUE)
        })
      }
    }),
  )
  return writer.finish()
}

function genericHeader(writer: Writer, command: number): void {
  const header = writer.struct(GENLMSGHDR)
  header.setUint8(0, command)
  header.setUint8(1, ETHTOOL_GENL_VERSION)
}

/** The answer's WANTED bits are those whose value is not what was asked for. */
function refusedFeatures({ payload }: Message): string[] {
  const wanted = parseAttributes(payload, GENLMSGHDR).get(ETHTOOL_A_FEATURES_WANTED)
  const bits = wanted && parseAttributes(wanted).get(ETHTOOL_A_BITSET_BITS)
  if (!bits) return []
  return listAttributes(bits).flatMap(([, bit]) => readText(parseAttributes(bit).get(ETHTOOL_A_BITSET_BIT_NAME)) ?? [])
}
