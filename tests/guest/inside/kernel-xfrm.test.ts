/** SAs and policies as iproute2 reads them back: what the port's own parser cannot check. */
import { execFileSync } from 'node:child_process'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Machine } from '../../../agent/kernel/conformance.ts'
import { linuxMachine } from '../../net/kernel-machine.ts'

let machine: Machine
beforeEach(() => {
  machine = linuxMachine()
})
afterEach(() => machine.end())

const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8' }).replace(/\s+/g, ' ')
const tunnel = { source: '100.64.0.1', destination: '100.64.0.2', ifId: 0xabcde1 }
const key = Uint8Array.from({ length: 20 }, (_, index) => index)

it('makes tunnel-mode ESP states with ESN, a window of 4096 and no selector', async () => {
  await machine.kernel.xfrm.addAssociation({ ...tunnel, direction: 'in', spi: 0x1001, key, replayWindow: 4096 })
  const state = ip('xfrm', 'state')
  expect(state).toContain('src 100.64.0.1 dst 100.64.0.2 proto esp spi 0x00001001 reqid 11259361 mode tunnel')
  expect(state).toContain('flag af-unspec esn')
  expect(state).toContain('aead rfc4106(gcm(aes)) 0x000102030405060708090a0b0c0d0e0f10111213 128')
  expect(state).toContain('replay_window 4096, bitmap-length 128')
  expect(state).toContain('if_id 0xabcde1')
  expect(state).not.toContain('sel src 100')
})

it('gives an outbound state no window', async () => {
  await machine.kernel.xfrm.addAssociation({ ...tunnel, direction: 'out', spi: 0x1002, key, replayWindow: 4096 })
  expect(ip('xfrm', 'state')).toContain('replay_window 0, bitmap-length 0')
})

it('makes one policy per inner family, both into the IPv4 tunnel', async () => {
  await machine.kernel.xfrm.addPolicy(tunnel)
  // Some versions of iproute2 print the policy type, some do not.
  const policies = ip('xfrm', 'policy').replaceAll('ptype main ', '')
  const template =
    'dir out priority 0 tmpl src 100.64.0.1 dst 100.64.0.2 proto esp reqid 11259361 mode tunnel if_id 0xabcde1'
  expect(policies).toContain(`src 0.0.0.0/0 dst 0.0.0.0/0 ${template}`)
  expect(policies).toContain(`src ::/0 dst ::/0 ${template}`)
})

it('takes away the half of a policy that a crash left', async () => {
  const { xfrm } = machine.kernel
  await xfrm.addPolicy(tunnel)
  ip('xfrm', 'policy', 'delete', 'src', '::/0', 'dst', '::/0', 'dir', 'out', 'if_id', '0xabcde1')
  expect(await xfrm.policies()).toEqual([tunnel])
  await xfrm.deletePolicy(tunnel)
  expect(ip('xfrm', 'policy')).toBe('')
  // The other half stands in the way of a whole one: nothing new stays.
  ip('xfrm', 'policy', 'add', 'src', '::/0', 'dst', '::/0', 'dir', 'out', 'if_id', '0xabcde1')
  await expect(xfrm.addPolicy(tunnel)).rejects.toMatchObject({ code: 'EEXIST' })
  expect(ip('xfrm', 'policy')).not.toContain('src 0.0.0.0/0')
})

it("says the kernel's reason", async () => {
  const association = { ...tunnel, direction: 'in', spi: 0x1003, key: new Uint8Array(19), replayWindow: 4096 } as const
  await expect(machine.kernel.xfrm.addAssociation(association)).rejects.toThrow(
    /^add SA in to 100.64.0.2 SPI 0x1003: EINVAL/,
  )
})

it('carries 2,000 SAs in and out', async () => {
  const { xfrm } = machine.kernel
  const associations = Array.from({ length: 2000 }, (_, index) => ({
    ...tunnel,
    ifId: index + 1,
    direction: 'in' as const,
    spi: 0x10000 + index,
    key,
    replayWindow: 4096,
  }))
  await Promise.all(associations.map(association => xfrm.addAssociation(association)))
  expect((await xfrm.associations()).length).toBe(2000)
  await Promise.all(associations.map(association => xfrm.deleteAssociation(association)))
  expect(await xfrm.associations()).toEqual([])
})
