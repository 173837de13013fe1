/** XFRM_MSG_*POLICY: struct xfrm_userpolicy_info and its template (include/uapi/linux/xfrm.h). */
import { viewOf } from '../../../schema/codec.ts'
import type { TunnelPolicy } from '../port.ts'
import { AF_INET, AF_INET6, toBytes } from './address.ts'
import { type Message, parseAttributes, readU32, Writer } from './codec.ts'
import { IPPROTO_ESP, NO_LIMIT, putBytes, takeAddress, XFRM_MODE_TUNNEL, XFRMA_IF_ID } from './xfrm-state.ts'

export const XFRM_MSG_NEWPOLICY = 0x13
export const XFRM_MSG_DELPOLICY = 0x14
export const XFRM_MSG_GETPOLICY = 0x15

const XFRMA_TMPL = 5
const XFRM_POLICY_OUT = 1
const SELECTOR_FAMILY = 40
const USERPOLICY_INFO = { size: 168, limits: 56, direction: 160 }
const USERPOLICY_ID = { size: 64, direction: 60 }
const USER_TMPL = { size: 64, protocol: 20, family: 24, source: 28, reqid: 44, mode: 48, algorithms: 52 }

/** The families of inner packets: a policy each, both with the same template. */
export const policyFamilies = [AF_INET, AF_INET6] as const

export function addPolicy(policy: TunnelPolicy, family: number): Uint8Array {
  const writer = new Writer()
  const info = writer.struct(USERPOLICY_INFO.size)
  // Prefix lengths and ports stay 0: any packet of the family.
  info.setUint16(SELECTOR_FAMILY, family, true)
  for (let index = 0; index < 4; index++) info.setBigUint64(USERPOLICY_INFO.limits + index * 8, NO_LIMIT, true)
  info.setUint8(USERPOLICY_INFO.direction, XFRM_POLICY_OUT)
  return writer.bytes(XFRMA_TMPL, template(policy)).u32(XFRMA_IF_ID, policy.ifId).finish()
}

export function deletePolicy(ifId: number, family: number): Uint8Array {
  const writer = new Writer()
  const id = writer.struct(USERPOLICY_ID.size)
  id.setUint16(SELECTOR_FAMILY, family, true)
  id.setUint8(USERPOLICY_ID.direction, XFRM_POLICY_OUT)
  return writer.u32(XFRMA_IF_ID, ifId).finish()
}

/** undefined for policies of another direction, without if_id or without a tunnel */
export function parsePolicy({ payload }: Message): TunnelPolicy | undefined {
  const info = viewOf(payload)
  const attributes = parseAttributes(payload, USERPOLICY_INFO.size)
  const tmpl = attributes.get(XFRMA_TMPL)
  const ifId = readU32(attributes.get(XFRMA_IF_ID))
  if (info.getUint8(USERPOLICY_INFO.direction) !== XFRM_POLICY_OUT || !ifId || !tmpl || tmpl.length < USER_TMPL.size)
    return undefined
  const outer = viewOf(tmpl).getUint16(USER_TMPL.family, true)
  return {
    source: takeAddress(tmpl, USER_TMPL.source, outer),
    destination: takeAddress(tmpl, 0, outer),
    ifId,
  }
}

/** struct xfrm_user_tmpl; algorithms: any, the SA says which. */
function template({ source, destination, ifId }: TunnelPolicy): Uint8Array {
  const bytes = new Uint8Array(USER_TMPL.size)
  const view = viewOf(bytes)
  const to = toBytes(destination)
  putBytes(view, 0, to.bytes)
  view.setUint8(USER_TMPL.protocol, IPPROTO_ESP)
  view.setUint16(USER_TMPL.family, to.family, true)
  putBytes(view, USER_TMPL.source, toBytes(source).bytes)
  view.setUint32(USER_TMPL.reqid, ifId, true)
  view.setUint8(USER_TMPL.mode, XFRM_MODE_TUNNEL)
  for (let index = 0; index < 3; index++) view.setUint32(USER_TMPL.algorithms + index * 4, 0xffffffff, true)
  return bytes
}
