/**
 * What only a real kernel shows of the pinned dataplane: replacing programs under traffic, events, and pins that something else has left.
 *
 *   net0 10.0.0.1/24 -- wan0, program wan at its ingress; 10.0.0.2 is a permanent neighbour with wan0's MAC
 */
import { execFileSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { existsSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { pinObject } from '../../agent/kernel/bpf-object.ts'
import { cable, expectCode, type Machine } from '../../agent/kernel/conformance.ts'
import type { Dataplane, Link } from '../../agent/kernel/port.ts'
import { findObjectFolder, loadPrograms } from '../../agent/kernel/programs.ts'
import { zeroPathState } from '../../agent/plan/values.ts'
import { ABI_MP_PORT, type Event, eventType, nexthopKind } from '../../schema/abi.gen.ts'
import { linuxMachine } from './kernel-machine.ts'

let machine: Machine
let net: Link
let wan: Link
beforeEach(async () => {
  machine = linuxMachine()
  const [net0, wan0] = await cable(machine, 'net0', 'wan0')
  net = net0
  wan = wan0
  const { network } = machine.kernel
  await network.addAddress({ ifindex: net0.ifindex, address: '10.0.0.1', prefixLength: 24 })
  await network.replaceNeighbour({ ifindex: net0.ifindex, address: '10.0.0.2', mac: wan.mac })
})
afterEach(() => machine.end())

const FLOW_PORT = 40_000
const open = (): Promise<Dataplane> => machine.kernel.openDataplane({ bpffs: machine.bpffs, esp: false })
const pin = (...path: string[]) => join(machine.bpffs, ...path)

/** Sends packets that program wan refuses and counts, `perTurn` in each turn of `during`. */
async function sendRefused(turns: number, perTurn: number, during: () => Promise<void> | void): Promise<number> {
  const socket = createSocket('udp4')
  const packet = new Uint8Array(64)
  try {
    for (let turn = 0; turn < turns; turn++) {
      const sent = Array.from({ length: perTurn }, () => {
        return new Promise<void>((resolve, reject) => {
          socket.send(packet, ABI_MP_PORT, '10.0.0.2', error => (error ? reject(error) : resolve()))
        })
      })
      await during()
      await Promise.all(sent)
    }
    return turns * perTurn
  } finally {
    socket.close()
  }
}

/** `packets` of one flow. */
async function sendTo(address: string, port: number, packets: number): Promise<void> {
  const socket = createSocket('udp4')
  await new Promise<void>(resolve => socket.bind(FLOW_PORT, '10.0.0.1', resolve))
  for (let packet = 0; packet < packets; packet++)
    await new Promise<void>((resolve, reject) => {
      socket.send(new Uint8Array(8), port, address, error => (error ? reject(error) : resolve()))
    })
  socket.close()
}

const dropped = (dataplane: Dataplane) => Object.values(dataplane.drops()).reduce((sum, count) => sum + count, 0)

it('meets every packet with a program while programs are replaced in place', async () => {
  let dataplane = await open()
  dataplane.attach('wan', wan.ifindex)
  let updates = 0
  let sent = await sendRefused(100, 20, () => {
    for (let index = 0; index < 20; index++, updates++) dataplane.attach('wan', wan.ifindex)
  })
  sent += await sendRefused(4, 100, async () => {
    machine.restart()
    const next = await open()
    expect(next.adoption).toBe('adopted')
    dataplane.close()
    dataplane = next
  })
  expect(updates).toBe(2000)
  expect(dropped(dataplane)).toBe(sent)
})

it('leaves the programs at work between two agents', async () => {
  const first = await open()
  first.attach('wan', wan.ifindex)
  first.close()
  const sent = await sendRefused(1, 10, () => {})
  expect(dropped(await open())).toBe(sent)
})

it('finds the flows that programs remembered under a former agent', async () => {
  const { network } = machine.kernel
  await network.addRoute({ destination: '10.9.0.0/16', ifindex: net.ifindex, gateway: '10.0.0.2' })
  const first = await open()
  const { node, ports, nexthops } = first.maps
  const config = node.get(0)
  if (!config) throw new Error('no node entry')
  node.set(0, { ...config, routeEpoch: 1 })
  ports.set(wan.ifindex, { ifindex: wan.ifindex, vrf: 7, addr4: 0, flags: 0, addr6: new Uint8Array(16) })
  nexthops.set(3, { kind: nexthopKind.NH_LAN, flags: 0, reserved: 0, target: wan.ifindex })
  await first.fib.apply([{ vrf: 7, address: '10.9.0.0', prefixLength: 16, nexthop: 3 }])
  first.attach('lan', wan.ifindex)
  await sendTo('10.9.0.1', 9, 3)
  const entries = first.flows.entries()
  expect(entries).toMatchObject([{ vrf: 7, nexthop: 3, packets: 3, tuple: { proto: 17, destination: '10.9.0.1' } }])
  first.close()
  const second = await open()
  expect(second.adoption).toBe('adopted')
  expect(second.flows.entries()).toEqual(entries)
  expect(second.counters()).toMatchObject({ 'flow-new': 1, 'flow-hit': 2 })
  // Under the same key: the flow is found where it lies.
  await sendTo('10.9.0.1', 9, 2)
  expect(second.counters()).toMatchObject({ 'flow-new': 1, 'flow-hit': 4 })
})

it('hands events to the agent, those from before it came too', async () => {
  const first = await open()
  first.attach('wan', wan.ifindex)
  await sendRefused(1, 1, () => {})
  first.close()
  const second = await open()
  const events: Event[] = []
  second.onEvent(event => events.push(event))
  await expect.poll(() => events.length).toBe(1)
  await sendRefused(1, 2, () => {})
  await expect.poll(() => events.length).toBe(3)
  expect(events[2]).toMatchObject({ type: eventType.EVENT_DROP, ifindex: wan.ifindex })
  expect(events[2]?.timeNs).toBeGreaterThan(0n)
  second.close()
})

it('detaches and destroys at once', async () => {
  const dataplane = await open()
  dataplane.attach('wan', wan.ifindex)
  await sendRefused(1, 1, () => {})
  dataplane.detach('wan', wan.ifindex)
  await sendRefused(1, 5, () => {})
  expect(dropped(dataplane)).toBe(1)
  dataplane.attach('wan', wan.ifindex)
  dataplane.destroy()
  expect(existsSync(machine.bpffs)).toBe(false)
  const next = await open()
  expect(next.adoption).toBe('created')
  await sendRefused(1, 5, () => {})
  await sleep(50)
  expect(dropped(next)).toBe(0)
})

it.each([
  ['a map is missing', () => unlinkSync(pin('maps/ports')), /^pinned map ports is missing$/],
  ['the agent died while it pinned', () => unlinkSync(pin('maps/node')), /^pinned map node is missing$/],
  [
    'a map has another shape',
    () => {
      unlinkSync(pin('maps/ports'))
      bpftool(
        'map',
        'create',
        pin('maps/ports'),
        'type',
        'array',
        'key',
        '4',
        'value',
        '8',
        'entries',
        '8',
        'name',
        'x',
      )
    },
    /^pinned map ports has value size 8 instead of \d+$/,
  ],
  [
    'a program is where a map should be',
    () => {
      unlinkSync(pin('maps/ports'))
      const programs = loadPrograms(findObjectFolder(), ['wan'])
      pinObject(programs.programs.get('wan') ?? -1, pin('maps/ports'))
      programs.close()
    },
    /^pinned map ports has /,
  ],
])('rebuilds when %s', async (_, damage, reason) => {
  const first = await open()
  first.attach('wan', wan.ifindex)
  first.maps.vaddrs.set('100.64.0.1', 1)
  damage()
  machine.restart()
  const second = await open()
  expect(second).toMatchObject({ adoption: 'rebuilt', reason: expect.stringMatching(reason) })
  expect(second.maps.vaddrs.entries()).toEqual([])
  expect(second.attached()).toEqual([])
  machine.restart()
  expect((await open()).adoption).toBe('adopted')
})

it('gives maps the size of the role, and rebuilds those of another', async () => {
  const sizes = { path_state: 64 }
  const small = await machine.kernel.openDataplane({ bpffs: machine.bpffs, esp: false, sizes })
  small.maps.pathState.set(0x1003f0, zeroPathState())
  await expectCode(() => small.maps.pathState.set(0x100400, zeroPathState()), 'E2BIG')
  machine.restart()
  expect(await machine.kernel.openDataplane({ bpffs: machine.bpffs, esp: false, sizes })).toMatchObject({
    adoption: 'adopted',
  })
  machine.restart()
  expect(await open()).toMatchObject({
    adoption: 'rebuilt',
    reason: 'pinned map path_state has max entries 64 instead of 65536',
  })
})

it('does not take a pin for an attachment that is none', async () => {
  const first = await open()
  bpftool(
    'map',
    'create',
    pin(`links/wan-${wan.ifindex}`),
    'type',
    'hash',
    'key',
    '4',
    'value',
    '8',
    'entries',
    '8',
    'name',
    'x',
  )
  expect(first.attached()).toEqual([])
  first.attach('wan', wan.ifindex)
  await sendRefused(1, 3, () => {})
  expect(dropped(first)).toBe(3)
})

it('does not take the pin of a former device for one of its successor with the same number', async () => {
  const dataplane = await open()
  dataplane.attach('wan', wan.ifindex)
  await machine.kernel.network.deleteLink(wan.ifindex)
  execFileSync('ip', ['link', 'add', 'wan1', 'index', String(wan.ifindex), 'type', 'veth', 'peer', 'name', 'net1'])
  expect(dataplane.attached()).toEqual([])
  dataplane.attach('wan', wan.ifindex)
  expect(dataplane.attached()).toEqual([{ hook: 'wan', ifindex: wan.ifindex }])
})

it('refuses a folder that is on no bpffs', async () => {
  await expectCode(machine.kernel.openDataplane({ bpffs: '/tmp/branchline-no-bpffs', esp: false }), 'EINVAL')
})

it('tells what the verifier made of the programs', async () => {
  const dataplane = await open()
  for (const { verified, jitedBytes } of dataplane.programs()) {
    expect(verified).toBeGreaterThan(100)
    expect(jitedBytes).toBeGreaterThan(100)
  }
  expect(dataplane.loadMs).toBeGreaterThan(0)
})

function bpftool(...args: string[]): void {
  execFileSync('bpftool', args)
}
