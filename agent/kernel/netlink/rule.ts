/** RTM_*RULE: struct fib_rule_hdr and FRA_* (include/uapi/linux/fib_rules.h). */
import { viewOf } from '../../../schema/codec.ts'
import type { Rule } from '../port.ts'
import { AF_INET, AF_INET6 } from './address.ts'
import { type Message, parseAttributes, readText, readU32, Writer } from './codec.ts'

export const RTM_NEWRULE = 32
export const RTM_DELRULE = 33
export const RTM_GETRULE = 34

const FIB_RULE_HDR = 12
const FRA_PRIORITY = 6
const FRA_TABLE = 15
const FRA_OIFNAME = 17
const FR_ACT_TO_TBL = 1

export function getRules(family: number): Uint8Array {
  const writer = new Writer()
  writer.struct(FIB_RULE_HDR).setUint8(0, family)
  return writer.finish()
}

/** undefined for rules of another form than `oif <device> lookup <table>` */
export function parseRule({ payload }: Message): Rule | undefined {
  const view = viewOf(payload)
  const attributes = parseAttributes(payload, FIB_RULE_HDR)
  const outInterface = readText(attributes.get(FRA_OIFNAME))
  if (outInterface === undefined || view.getUint8(7) !== FR_ACT_TO_TBL) return undefined
  return {
    family: view.getUint8(0) === AF_INET6 ? 6 : 4,
    outInterface,
    table: readU32(attributes.get(FRA_TABLE)) ?? view.getUint8(4),
    priority: readU32(attributes.get(FRA_PRIORITY)) ?? 0,
  }
}

/** For both RTM_NEWRULE and RTM_DELRULE. */
export function ruleMessage(rule: Rule): Uint8Array {
  const writer = new Writer()
  const header = writer.struct(FIB_RULE_HDR)
  header.setUint8(0, rule.family === 6 ? AF_INET6 : AF_INET)
  header.setUint8(4, rule.table < 256 ? rule.table : 0)
  header.setUint8(7, FR_ACT_TO_TBL)
  return writer
    .text(FRA_OIFNAME, rule.outInterface)
    .u32(FRA_TABLE, rule.table)
    .u32(FRA_PRIORITY, rule.priority)
    .finish()
}
