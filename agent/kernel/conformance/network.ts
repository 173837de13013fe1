import { describe, expect, it } from 'vitest'
import { cable, expectCode, type MachineUnderTest } from '../conformance.ts'
import type { NetworkChange } from '../port.ts'

const NOBODY = 9999

export function networkConformance(machine: MachineUnderTest): void {
  const network = () => machine().kernel.network

  describe('links', () => {
    it('start with lo alone', async () => {
      expect(await network().links()).toMatchObject([{ ifindex: 1, name: 'lo', up: false, running: false }])
    })

    it('come as a veth pair, down, and run when both ends are up', async () => {
      const link = await network().createLink({ kind: 'veth', name: 'mp0', peer: 'mp1', mtu: 1400 })
      expect(link).toMatchObject({ name: 'mp0', kind: 'veth', mtu: 1400, up: false, running: false })
      expect(link.mac).toMatch(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/)
      const state = async (name: string) => (await network().links()).find(candidate => candidate.name === name)
      const peer = await state('mp1')
      expect(peer).toMatchObject({ kind: 'veth', mtu: 1400, up: false, running: false })

      await network().setLink(link.ifindex, { up: true })
      expect(await state('mp0')).toMatchObject({ up: true, running: false })
      await network().setLink(peer?.ifindex ?? 0, { up: true })
      expect(await state('mp0')).toMatchObject({ up: true, running: true })
      expect(await state('mp1')).toMatchObject({ up: true, running: true })
      await network().setLink(link.ifindex, { up: false })
      expect(await state('mp1')).toMatchObject({ up: true, running: false })
    })

    it('change their MTU', async () => {
      const { ifindex } = await network().createLink({ kind: 'veth', name: 'mp0', peer: 'mp1', mtu: 1400 })
      await network().setLink(ifindex, { mtu: 1280, up: true })
      expect((await network().links()).find(link => link.name === 'mp0')).toMatchObject({ mtu: 1280, up: true })
      await expectCode(network().setLink(ifindex, { mtu: 67 }), 'EINVAL')
    })

    it('have one name each', async () => {
      await network().createLink({ kind: 'veth', name: 'mp0', peer: 'mp1', mtu: 1400 })
      await expectCode(network().createLink({ kind: 'veth', name: 'mp0', peer: 'mp2', mtu: 1400 }), 'EEXIST')
      await expectCode(network().createLink({ kind: 'veth', name: 'mp2', peer: 'mp1', mtu: 1400 }), 'EEXIST')
      expect((await network().links()).map(link => link.name).sort()).toEqual(['lo', 'mp0', 'mp1'])
    })

    it('go in pairs, with their addresses', async () => {
      const [link, peer] = await cable(machine(), 'mp0', 'mp1')
      await network().addAddress({ ifindex: peer.ifindex, address: '10.0.0.1', prefixLength: 24 })
      await network().deleteLink(link.ifindex)
      expect((await network().links()).map(({ name }) => name)).toEqual(['lo'])
      expect(await network().addresses()).toEqual([])
      await expectCode(network().deleteLink(link.ifindex), 'ENODEV')
      await expectCode(network().setLink(link.ifindex, { up: true }), 'ENODEV')
    })

    it('come as a macvlan, which goes with the device below it', async () => {
      const [below] = await cable(machine(), 'wan0', 'net0')
      const spec = { kind: 'macvlan', name: 'mps0', mtu: 1400, gsoMaxSize: 400, gsoMaxSegments: 1 } as const
      const link = await network().createLink({ ...spec, parent: below.ifindex })
      expect(link).toMatchObject({ name: 'mps0', kind: 'macvlan', mtu: 1400, parent: below.ifindex, up: false })
      expect((await network().links()).find(({ name }) => name === 'wan0')?.parent).toBeUndefined()
      await expectCode(network().createLink({ ...spec, name: 'mps1', parent: NOBODY }), 'ENODEV')
      await network().deleteLink(below.ifindex)
      expect((await network().links()).map(({ name }) => name)).toEqual(['lo'])
    })

    it('change features', async () => {
      const { ifindex } = await network().createLink({ kind: 'veth', name: 'mp0', peer: 'mp1', mtu: 1400 })
      await network().setFeatures(ifindex, { 'tx-tcp-segmentation': false, 'tx-checksum-ip-generic': false })
      await expectCode(network().setFeatures(NOBODY, { 'tx-tcp-segmentation': false }), 'ENODEV')
    })
  })

  describe('addresses', () => {
    it.each([
      { address: '10.0.0.1', prefixLength: 24 },
      { address: '100.64.0.1', prefixLength: 32 },
      { address: '2001:db8::1', prefixLength: 64 },
    ])('add, list and delete $address/$prefixLength', async ({ address, prefixLength }) => {
      const { ifindex } = await network().createLink({ kind: 'veth', name: 'lan0', peer: 'host0', mtu: 1400 })
      const entry = { ifindex, address, prefixLength }
      await network().addAddress(entry)
      expect(await network().addresses()).toEqual([entry])
      await expectCode(network().addAddress(entry), 'EEXIST')
      await network().deleteAddress(entry)
      expect(await network().addresses()).toEqual([])
      await expectCode(network().deleteAddress(entry), 'ENOENT')
    })

    it('need a device', async () => {
      const entry = { ifindex: NOBODY, address: '10.0.0.1', prefixLength: 24 }
      await expectCode(network().addAddress(entry), 'ENODEV')
      await expectCode(network().deleteAddress(entry), 'ENODEV')
    })
  })

  describe('neighbours', () => {
    it('are added and replaced, per device', async () => {
      const [link, other] = await cable(machine(), 'lan0', 'host0')
      const { ifindex } = link
      await network().replaceNeighbour({ ifindex, address: '10.0.0.2', mac: '02:00:00:00:00:01' })
      await network().replaceNeighbour({ ifindex, address: '2001:db8::2', mac: '02:00:00:00:00:02' })
      await network().replaceNeighbour({ ifindex, address: '10.0.0.2', mac: '02:00:00:00:00:03' })
      const found = await network().neighbours(ifindex)
      expect(found.sort((a, b) => (a.address < b.address ? -1 : 1))).toEqual([
        { ifindex, address: '10.0.0.2', mac: '02:00:00:00:00:03' },
        { ifindex, address: '2001:db8::2', mac: '02:00:00:00:00:02' },
      ])
      expect(await network().neighbours(other.ifindex)).toEqual([])
      const lost = { ifindex: NOBODY, address: '10.0.0.2', mac: '02:00:00:00:00:03' }
      await expectCode(network().replaceNeighbour(lost), 'ENODEV')
    })
  })

  describe('watch', () => {
    it('tells of links, addresses, routes and neighbours until it ends', async () => {
      const seen: NetworkChange[] = []
      const stop = network().watch(change => seen.push(change))
      const [link] = await cable(machine(), 'lan0', 'host0')
      const { ifindex } = link
      await network().addAddress({ ifindex, address: '10.0.0.1', prefixLength: 24 })
      await network().addRoute({ destination: '10.1.0.0/16', ifindex, gateway: '10.0.0.2' })
      await network().replaceNeighbour({ ifindex, address: '10.0.0.2', mac: '02:00:00:00:00:01' })
      for (const what of ['link', 'address', 'route', 'neighbour'] as const) {
        await expect.poll(() => seen).toContainEqual({ what, ifindex })
      }
      stop()
      const count = seen.length
      await network().deleteLink(ifindex)
      await new Promise(resolve => setTimeout(resolve, 20))
      expect(seen.length).toBe(count)
    })
  })

  describe('sysctl', () => {
    it('reads and writes keys of devices', async () => {
      await network().createLink({ kind: 'veth', name: 'wan0', peer: 'net0', mtu: 1400 })
      network().setSysctl('ipv4/conf/wan0/rp_filter', '2')
      expect(network().sysctl('ipv4/conf/wan0/rp_filter')).toBe('2')
      expect(network().sysctl('ipv4/conf/net0/rp_filter')).toBe('0')
      expect(network().sysctl('ipv4/conf/none0/rp_filter')).toBeUndefined()
      await expectCode(() => network().setSysctl('ipv4/conf/none0/rp_filter', '2'), 'ENOENT')
    })
  })
}
