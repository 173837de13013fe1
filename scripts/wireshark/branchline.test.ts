/** The dissector on packets of every type, made by the code that makes the real ones where that is TypeScript. Needs tshark, no root. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it, vi } from 'vitest'
import {
  formatCookie,
  formatInit,
  formatInitKem,
  formatReset,
  formatResponse,
  formatResponseKem,
  RESPONSE_OVERHEAD,
} from '../../agent/mp/packets.ts'
import { type MpHdr, mpReportCodec, mpType } from '../../schema/abi.gen.ts'
import { MIN_INIT } from '../../schema/mpinit.ts'
import { ip, mp, PcapFile, udp } from './testing-pcap.ts'

// tshark takes half a second to start, and longer on a busy machine.
vi.setConfig({ testTimeout: 30_000 })

const SCRIPT = join(import.meta.dirname, 'branchline.lua')
const run = promisify(execFile)

const KEY = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex')
const [A4, B4, A6, B6] = ['203.0.113.2', '198.51.100.2', '2001:db8:f000:a::2', '2001:db8:f000:1::2']
const [VIRTUAL_A, VIRTUAL_B] = ['100.64.0.2', '100.64.0.1']

const HEADER: Omit<MpHdr, 'tag'> = {
  versionType: 0x11,
  path: 3,
  qos: (2 << 6) | (5 << 3) | 1,
  fec: 7,
  session: 0x0abcdef0,
  number: 0x1_0000_0002n,
  timestampUs: 123_456_789,
  policyVersion: 42,
  sequence: 99,
  servicePath: (513 << 8) | 254,
}
const typed = (type: number) => ({ ...HEADER, versionType: (1 << 4) | type })

/** One row per packet; a field that occurs in two headers has its values joined by commas. */
async function dissect(packets: readonly Uint8Array[], fields: readonly string[]): Promise<Record<string, string>[]> {
  using file = new PcapFile(packets)
  const columns = fields.flatMap(field => ['-e', field])
  const { stdout } = await run('tshark', ['-X', `lua_script:${SCRIPT}`, '-r', file.path, '-T', 'fields', ...columns])
  const rows = stdout.split('\n').slice(0, packets.length)
  return rows.map(row => Object.fromEntries(row.split('\t').map((value, index) => [fields[index] ?? '', value])))
}

async function dissectOne(packet: Uint8Array, fields: readonly string[]): Promise<Record<string, string>> {
  const [row] = await dissect([packet], fields)
  return row ?? {}
}

const HEADER_FIELDS = [
  'version',
  'type',
  'path',
  'class',
  'priority',
  'flags',
  'fec',
  'session',
  'number',
  'timestamp',
  'policy_version',
  'sequence',
  'service_path',
  'service_index',
  'tag',
].map(name => `branchline.${name}`)

describe('tagged types', () => {
  const hosts = udp('10.1.0.10', '10.2.0.10', Buffer.from('hello'), 9999)
  const hosts6 = udp('2001:db8:a:1::10', '2001:db8:b:1::10', Buffer.from('hello'), 9999)

  it('shows every field of the header', async () => {
    const packet = mp(KEY, HEADER, hosts)
    expect(await dissectOne(udp(A4, B4, packet), HEADER_FIELDS)).toEqual({
      'branchline.version': '1',
      'branchline.type': '1',
      'branchline.path': '3',
      'branchline.class': '2',
      'branchline.priority': '5',
      'branchline.flags': '0x01',
      'branchline.fec': '0x07',
      'branchline.session': '0x0abcdef0',
      'branchline.number': '4294967298',
      'branchline.timestamp': '123456789',
      'branchline.policy_version': '42',
      'branchline.sequence': '0x00000063',
      'branchline.service_path': '513',
      'branchline.service_index': '254',
      'branchline.tag': packet.subarray(32, 40).toString('hex'),
    })
  })

  it('hands the inner packet to the IP dissectors, over both outer families', async () => {
    const fields = ['ip.dst', 'ipv6.dst', 'udp.dstport', 'data.data']
    const data = Buffer.from('hello').toString('hex')
    const packets = [
      udp(A4, B4, mp(KEY, HEADER, hosts)),
      udp(A4, B4, mp(KEY, HEADER, hosts6)),
      udp(A6, B6, mp(KEY, HEADER, hosts)),
      udp(A6, B6, mp(KEY, HEADER, hosts6)),
    ]
    expect(await dissect(packets, fields)).toEqual([
      { 'ip.dst': `${B4},10.2.0.10`, 'ipv6.dst': '', 'udp.dstport': '2426,9999', 'data.data': data },
      { 'ip.dst': B4, 'ipv6.dst': '2001:db8:b:1::10', 'udp.dstport': '2426,9999', 'data.data': data },
      { 'ip.dst': '10.2.0.10', 'ipv6.dst': B6, 'udp.dstport': '2426,9999', 'data.data': data },
      { 'ip.dst': '', 'ipv6.dst': `${B6},2001:db8:b:1::10`, 'udp.dstport': '2426,9999', 'data.data': data },
    ])
  })

  it('shows ESP between virtual addresses', async () => {
    const esp = Buffer.concat([Buffer.from('deadbeef00000007', 'hex'), Buffer.alloc(64, 0x5a)])
    const packet = udp(A6, B6, mp(KEY, HEADER, ip(VIRTUAL_A, VIRTUAL_B, 50, esp)))
    expect(await dissectOne(packet, ['ip.src', 'ip.dst', 'esp.spi', 'esp.sequence'])).toEqual({
      'ip.src': VIRTUAL_A,
      'ip.dst': VIRTUAL_B,
      'esp.spi': '0xdeadbeef',
      'esp.sequence': '7',
    })
  })

  it('reads a probe with its trigger, and the echoed timestamp and the report of the reply', async () => {
    const trigger = udp(VIRTUAL_A, VIRTUAL_B, Buffer.from([3, ...Array<number>(15).fill(0)]))
    const report = mpReportCodec.encode({ highest: 12n, packets: 11n })
    const packets = [
      udp(A4, B4, mp(KEY, typed(mpType.MP_PROBE), trigger)),
      udp(B4, A4, mp(KEY, typed(mpType.MP_PROBE_REPLY), Buffer.concat([report, trigger.subarray(16)]))),
    ]
    const fields = [
      ...['trigger', 'sequence', 'echo', 'report_highest', 'report_packets'].map(name => `branchline.${name}`),
      ...['_ws.expert', '_ws.col.Info'],
    ]
    expect(await dissect(packets, fields)).toEqual([
      {
        'branchline.trigger': '3',
        'branchline.sequence': '0x00000063',
        'branchline.echo': '',
        'branchline.report_highest': '',
        'branchline.report_packets': '',
        '_ws.expert': '',
        '_ws.col.Info': 'PROBE session 0x0abcdef0 path 3 number 4294967298',
      },
      {
        'branchline.trigger': '',
        'branchline.sequence': '',
        'branchline.echo': '99',
        'branchline.report_highest': '12',
        'branchline.report_packets': '11',
        '_ws.expert': '',
        '_ws.col.Info': 'PROBE_REPLY session 0x0abcdef0 path 3 number 4294967298',
      },
    ])
  })
})

describe('handshake types', () => {
  const ephemeral = Buffer.alloc(32, 0xe1)
  const sealedStatic = Buffer.alloc(48, 0x57)
  const initPayload = Buffer.alloc(MIN_INIT - 8 - 32 - 48 - 32, 0xa0)
  const noise1 = Buffer.concat([ephemeral, sealedStatic, initPayload])
  const responsePayload = Buffer.alloc(200, 0xa1)
  const noise2 = Buffer.concat([ephemeral, responsePayload])

  it('cuts an INIT at its parts, with and without a cookie', async () => {
    const [plain, shown] = [formatInit(0x1230, noise1, KEY), formatInit(0x1230, noise1, KEY, Buffer.alloc(16, 9))]
    expect(plain).toHaveLength(MIN_INIT)
    const fields = ['sender', 'ephemeral', 'static', 'payload', 'mac1', 'mac2', 'cookie_shown'].map(
      name => `branchline.${name}`,
    )
    const expected = (packet: Buffer, cookie: string) => ({
      'branchline.sender': '0x00001230',
      'branchline.ephemeral': ephemeral.toString('hex'),
      'branchline.static': sealedStatic.toString('hex'),
      'branchline.payload': initPayload.toString('hex'),
      'branchline.mac1': packet.subarray(-32, -16).toString('hex'),
      'branchline.mac2': packet.subarray(-16).toString('hex'),
      'branchline.cookie_shown': cookie,
    })
    expect(await dissect([udp(A4, B4, plain), udp(A6, B6, shown)], fields)).toEqual([
      expected(plain, '0'),
      expected(shown, '1'),
    ])
  })

  it('tells an accepting RESPONSE from a refusal', async () => {
    const accepted = formatResponse(0x4560, 0x1230, noise2, KEY)
    const refused = formatResponse(0, 0x1230, noise2, KEY)
    expect(accepted).toHaveLength(RESPONSE_OVERHEAD + responsePayload.length - 16)
    const fields = ['sender', 'receiver', 'ephemeral', 'payload', 'mac1', 'refused'].map(name => `branchline.${name}`)
    const expected = (packet: Buffer, sender: string, refusal: string) => ({
      'branchline.sender': sender,
      'branchline.receiver': '0x00001230',
      'branchline.ephemeral': ephemeral.toString('hex'),
      'branchline.payload': responsePayload.toString('hex'),
      'branchline.mac1': packet.subarray(-16).toString('hex'),
      'branchline.refused': refusal,
    })
    expect(await dissect([udp(B4, A4, accepted), udp(B6, A6, refused)], fields)).toEqual([
      expected(accepted, '0x00004560', '0'),
      expected(refused, '0x00000000', '1'),
    ])
  })

  it('reads COOKIE and RESET', async () => {
    const [nonce, sealed] = [Buffer.alloc(24, 0xc0), Buffer.alloc(32, 0x5e)]
    const fields = ['type', 'receiver', 'nonce', 'cookie', 'unknown'].map(name => `branchline.${name}`)
    expect(
      await dissect([udp(B4, A4, formatCookie(0x1230, nonce, sealed)), udp(B6, A6, formatReset(0x77777770))], fields),
    ).toEqual([
      {
        'branchline.type': '10',
        'branchline.receiver': '0x00001230',
        'branchline.nonce': nonce.toString('hex'),
        'branchline.cookie': sealed.toString('hex'),
        'branchline.unknown': '',
      },
      {
        'branchline.type': '11',
        'branchline.receiver': '',
        'branchline.nonce': '',
        'branchline.cookie': '',
        'branchline.unknown': '0x77777770',
      },
    ])
  })
})

describe('ML-KEM types', () => {
  it('cuts INIT_KEM and RESPONSE_KEM at their parts', async () => {
    const [key, text, tag] = [Buffer.alloc(1200, 0xe1), Buffer.alloc(1104, 0xc7), Buffer.alloc(16, 0x7a)]
    const fields = ['sender', 'receiver', 'kem_key', 'kem_ciphertext', 'kem_tag'].map(name => `branchline.${name}`)
    const packets = [
      udp(A4, B4, formatInitKem(0x1230, key)),
      udp(B6, A6, formatResponseKem(0x1230, Buffer.concat([text, tag]))),
    ]
    expect(await dissect(packets, [...fields, '_ws.col.Info'])).toEqual([
      {
        'branchline.sender': '0x00001230',
        'branchline.receiver': '',
        'branchline.kem_key': key.toString('hex'),
        'branchline.kem_ciphertext': '',
        'branchline.kem_tag': '',
        '_ws.col.Info': 'INIT_KEM from 0x00001230',
      },
      {
        'branchline.sender': '',
        'branchline.receiver': '0x00001230',
        'branchline.kem_key': '',
        'branchline.kem_ciphertext': text.toString('hex'),
        'branchline.kem_tag': tag.toString('hex'),
        '_ws.col.Info': 'RESPONSE_KEM to 0x00001230',
      },
    ])
  })
})

describe('bad packets', () => {
  const data = mp(KEY, HEADER, udp('10.1.0.10', '10.2.0.10', Buffer.from('hello'), 9999))

  it('names what is wrong', async () => {
    const [version, type, reserved, inner] = [Buffer.from(data), Buffer.from(data), formatReset(1), Buffer.from(data)]
    version[0] = 0x21
    type[0] = 0x17
    reserved[2] = 1
    inner[40] = 0
    const rows = await dissect(
      [version, type, reserved, inner, data.subarray(0, 55), formatReset(1).subarray(0, 7)].map(packet =>
        udp(A4, B4, packet),
      ),
      ['_ws.expert.message'],
    )
    expect(rows.map(row => row['_ws.expert.message'])).toEqual([
      'unknown version',
      'unknown type',
      'reserved bytes are not zero',
      'payload is no whole IP packet',
      'too short for its type',
      'too short for its type',
    ])
  })

  it('survives every truncation of every type', async () => {
    const whole = [
      data,
      mp(KEY, typed(mpType.MP_PROBE), udp(VIRTUAL_A, VIRTUAL_B, Buffer.alloc(16))),
      formatResponse(0x4560, 0x1230, Buffer.alloc(80), KEY),
      formatCookie(0x1230, Buffer.alloc(24), Buffer.alloc(32)),
      formatReset(1),
      formatInitKem(1, Buffer.alloc(1200)),
    ]
    const cut = whole.flatMap(packet =>
      Array.from({ length: packet.length }, (_, length) => packet.subarray(0, length)),
    )
    using file = new PcapFile(cut.map(packet => udp(A4, B4, packet)))
    const { stdout, stderr } = await run('tshark', ['-X', `lua_script:${SCRIPT}`, '-r', file.path, '-V'], {
      maxBuffer: 1 << 26,
    })
    expect(stdout.match(/^Frame \d+:/gm)).toHaveLength(cut.length)
    expect(stdout + stderr).not.toMatch(/lua error/i)
  })
})
