import { describe, expect, it } from 'vitest'
import { expectCode, type MachineUnderTest } from '../conformance.ts'
import type { SecurityAssociation } from '../port.ts'

const outbound: SecurityAssociation = {
  direction: 'out',
  source: '100.64.0.1',
  destination: '100.64.0.2',
  spi: 0xc0000001,
  ifId: 0xfffffff1,
  key: Uint8Array.from({ length: 36 }, (_, index) => index),
  replayWindow: 4096,
}
const inbound: SecurityAssociation = {
  ...outbound,
  direction: 'in',
  source: '100.64.0.2',
  destination: '100.64.0.1',
  spi: 0xc0000002,
}
const untouched = { packets: 0, bytes: 0, replayErrors: 0, integrityErrors: 0 }

export function xfrmConformance(machine: MachineUnderTest, esp: boolean): void {
  const xfrm = () => machine().kernel.xfrm

  describe.runIf(esp)('XFRM', () => {
    it('adds, lists and deletes SAs', async () => {
      await xfrm().addAssociation(outbound)
      await xfrm().addAssociation(inbound)
      const { key: _, replayWindow: __, ...state } = outbound
      const { key: ___, replayWindow: ____, ...other } = inbound
      const found = await xfrm().associations()
      expect(found.sort((a, b) => a.spi - b.spi)).toEqual([
        { ...state, ...untouched },
        { ...other, ...untouched },
      ])
      await expectCode(xfrm().addAssociation(outbound), 'EEXIST')
      await xfrm().deleteAssociation(outbound)
      await expectCode(xfrm().deleteAssociation(outbound), 'ENOENT')
      expect((await xfrm().associations()).map(({ spi }) => spi)).toEqual([inbound.spi])
    })

    it.each([
      ['a key of 15 bytes and salt', { key: new Uint8Array(19) }],
      ['no window', { replayWindow: 0 }],
      ['a window of more than 4096', { replayWindow: 4097 }],
    ])('refuses an inbound SA with %s', async (_, fault) => {
      await expectCode(xfrm().addAssociation({ ...inbound, ...fault }), 'EINVAL')
      expect(await xfrm().associations()).toEqual([])
    })

    it('takes keys of 128 bits too', async () => {
      await xfrm().addAssociation({ ...inbound, key: new Uint8Array(20) })
    })

    it('adds, lists and deletes policies', async () => {
      const policy = { source: '100.64.0.1', destination: '100.64.0.2', ifId: 0xfffffff1 }
      const other = { ...policy, ifId: 0x10 }
      await xfrm().addPolicy(policy)
      await xfrm().addPolicy(other)
      await expectCode(xfrm().addPolicy(policy), 'EEXIST')
      expect((await xfrm().policies()).sort((a, b) => b.ifId - a.ifId)).toEqual([policy, other])
      await xfrm().deletePolicy(policy)
      await expectCode(xfrm().deletePolicy(policy), 'ENOENT')
      expect(await xfrm().policies()).toEqual([other])
    })

    it('has one interface for all SAs', async () => {
      const { network } = machine().kernel
      const link = await network.createLink({ kind: 'xfrm', name: 'ipsec0', mtu: 1340 })
      expect(link).toMatchObject({ name: 'ipsec0', kind: 'xfrm', mtu: 1340 })
      await expectCode(network.createLink({ kind: 'xfrm', name: 'ipsec1', mtu: 1340 }), 'EEXIST')
      expect((await machine().kernel.capabilities()).esp).toBe(true)
    })

    it('attaches its programs to that interface', async () => {
      const { kernel, bpffs } = machine()
      const { ifindex } = await kernel.network.createLink({ kind: 'xfrm', name: 'ipsec0', mtu: 1340 })
      const dataplane = await kernel.openDataplane({ bpffs, esp: true })
      dataplane.attach('ipsec-egress', ifindex)
      dataplane.attach('ipsec-ingress', ifindex)
      expect(
        dataplane
          .attached()
          .map(({ hook }) => hook)
          .sort(),
      ).toEqual(['ipsec-egress', 'ipsec-ingress'])
      // Without ESP their programs go, the other way round they come.
      machine().restart()
      const without = await machine().kernel.openDataplane({ bpffs, esp: false })
      expect(without).toMatchObject({ adoption: 'adopted' })
      expect(without.attached()).toEqual([])
    })
  })

  describe.runIf(!esp)('XFRM on a kernel without ESP', () => {
    it('refuses SAs, interface and programs', async () => {
      const { kernel, bpffs } = machine()
      await expect(kernel.xfrm.addAssociation(outbound)).rejects.toThrow(/^add SA/)
      await expectCode(kernel.network.createLink({ kind: 'xfrm', name: 'ipsec0', mtu: 1340 }), 'EOPNOTSUPP')
      await expectCode(kernel.openDataplane({ bpffs, esp: true }), 'EINVAL')
      expect((await kernel.openDataplane({ bpffs, esp: false })).adoption).toBe('created')
    })
  })
}
