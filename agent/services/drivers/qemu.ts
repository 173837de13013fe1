/**
 * Instances as virtual machines, by QEMU. The machine is told by its kernel's command line, or by fw_cfg `opt/branchline/environment` where it boots from
 * a disk, what a namespace is told by its environment; which device is which arm it sees by their MAC addresses (driver.ts). It says `ready` on its
 * first serial port. Adapters come and go by PCI hot-plug, asked for over QMP.
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Network } from '../../kernel/port.ts'
import type { QemuConfig } from '../config.ts'
import {
  type AdapterSide,
  deviceOf,
  type InstanceDriver,
  type Launched,
  type LaunchSpec,
  macOf,
  managementPair,
  type Side,
} from '../driver.ts'
import { exists, ip, lastLine, lives, readText, run, signalGroup, start, until } from './command.ts'
import { qmp } from './qmp.ts'

const GRACE_MS = 5000
const QEMU = 'qemu-system-x86_64'
/** Slots for hot-plugged devices: QEMU's i440fx has 32 on its bus, a few of them its own. */
const MAX_DEVICES = 24

export class QemuDriver implements InstanceDriver {
  readonly #directory: string
  readonly #network: Network
  readonly #running = new Map<string, number>()
  #kvm: Promise<boolean> | undefined

  constructor(directory: string, network: Network) {
    this.#directory = directory
    this.#network = network
  }

  async launch(spec: LaunchSpec): Promise<Launched> {
    const config = configOf(spec)
    const directory = this.#of(spec.name)
    await this.stop(spec)
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    writeFileSync(join(directory, 'number'), `${spec.number}\n`)
    try {
      const kvm = await this.#accelerated(config)
      const { health } = spec.function
      const managed = health.kind !== 'none'
      if (managed) await this.#tap(spec, 0, 'management', 1500)
      const pair = managementPair(spec.number)
      if (managed) await ip(`addr add ${pair.gateway}/30 dev ${deviceOf(spec.number, 0, 'management')}`)
      const words = environment(spec, managed ? `${pair.instance}:${health.port}` : undefined)
      writeFileSync(join(directory, 'environment'), `${words.join('\n')}\n`, { mode: 0o600 })
      const args = qemuArguments(config, directory, words, kvm)
      if (managed) args.push(...nic(spec, 0, 'management'))
      const pid = await start(QEMU, args, join(directory, 'log'), {
        PATH: process.env.PATH,
        BRANCHLINE_KEPT: directory,
      })
      writeFileSync(join(directory, 'qemu.pid'), `${pid}\n`)
      await this.#ready(spec, pid)
      this.#running.set(spec.name, pid)
      return {
        health: managed ? { address: pair.instance, port: health.port } : undefined,
        where: `qemu ${pid}, ${kvm ? 'KVM' : 'emulated'}`,
      }
    } catch (error) {
      await this.stop(spec)
      throw error
    }
  }

  async #ready({ name, function: { startMs } }: LaunchSpec, pid: number): Promise<void> {
    const directory = this.#of(name)
    const console = join(directory, 'console')
    const ready = () => /^ready\r?$/m.test(readText(console))
    const born = performance.now()
    const gone = () => performance.now() - born > 500 && !lives(pid, markOf(directory))
    await until(() => ready() || gone(), startMs)
    if (ready()) return
    const said = lastLine(join(directory, 'log')) || lastLine(console)
    throw new Error(`${gone() ? 'it ended' : `not ready within ${startMs} ms`}${said && `: ${said}`}`)
  }

  /**
   * Some machines offer a /dev/kvm on which nothing runs: a test machine that turns itself off has to get that far. Asked once.
   */
  #accelerated({ accelerator }: QemuConfig): Promise<boolean> {
    if (accelerator !== 'auto') return Promise.resolve(accelerator === 'kvm')
    this.#kvm ??= probeKvm(this.#directory)
    return this.#kvm
  }

  async attach(spec: LaunchSpec, slot: number): Promise<AdapterSide> {
    const { attachment, mtu } = spec.function
    const sides: Side[] = attachment.kind === 'ethernet' && attachment.arms === 1 ? ['arm'] : ['inside', 'outside']
    if ((slot + 1) * sides.length > MAX_DEVICES) throw new Error(`a machine has room for ${MAX_DEVICES} devices`)
    for (const side of sides) await this.#tap(spec, slot, side, mtu)
    await qmp(join(this.#of(spec.name), 'qmp'), async ask => {
      for (const side of sides) {
        const id = `${side}${slot}`
        await ask('netdev_add', {
          type: 'tap',
          id,
          ifname: deviceOf(spec.number, slot, side),
          script: 'no',
          downscript: 'no',
        })
        const mac = macOf(spec.number, slot, side, 'instance')
        await ask('device_add', {
          driver: 'virtio-net-pci',
          id: `nic-${id}`,
          netdev: id,
          mac,
          host_mtu: mtu,
          romfile: '',
        })
      }
    })
    const links = await this.#network.links()
    const [inside, outside] = [sides[0], sides.at(-1)].map(side => {
      const link = links.find(({ name }) => name === deviceOf(spec.number, slot, side as Side))
      if (!link) throw new Error(`${spec.name}: a tap is not there`)
      return { ifindex: link.ifindex, mac: macOf(spec.number, slot, side as Side, 'instance') }
    }) as [{ ifindex: number; mac: string }, { ifindex: number; mac: string }]
    return {
      kind: 'ethernet',
      mtu,
      insideIfindex: inside.ifindex,
      outsideIfindex: outside.ifindex,
      insideMac: inside.mac,
      outsideMac: outside.mac,
    }
  }

  async #tap(spec: LaunchSpec, slot: number, side: Side, mtu: number): Promise<void> {
    const device = deviceOf(spec.number, slot, side)
    await remove(device)
    await run('ip', ['tuntap', 'add', 'dev', device, 'mode', 'tap', 'vnet_hdr'])
    await ip(`link set ${device} address ${macOf(spec.number, slot, side, 'gateway')} mtu ${mtu} up`)
    if (side !== 'management') this.#network.setSysctl(`ipv6/conf/${device}/disable_ipv6`, '1')
  }

  async detach(spec: LaunchSpec, slot: number): Promise<void> {
    for (const side of ['inside', 'outside', 'arm'] as const) {
      const id = `${side}${slot}`
      await qmp(join(this.#of(spec.name), 'qmp'), async ask => {
        await ask('device_del', { id: `nic-${id}` })
        await ask('netdev_del', { id })
      }).catch(() => {})
      await remove(deviceOf(spec.number, slot, side))
    }
  }

  stop({ name }: LaunchSpec): Promise<void> {
    return this.#end(name)
  }

  async #end(name: string): Promise<void> {
    const directory = this.#of(name)
    const pid = this.#pid(name)
    this.#running.delete(name)
    if (lives(pid, markOf(directory))) {
      await qmp(join(directory, 'qmp'), ask => ask('quit')).catch(() => {})
      if (!(await until(() => !lives(pid, markOf(directory)), GRACE_MS))) signalGroup(pid, markOf(directory), 'SIGKILL')
    }
    // Taps outlive the process that used them.
    const number = Number.parseInt(readText(join(directory, 'number')), 10)
    const taps = new RegExp(`^bls${number}[a-z]\\d+$`)
    for (const link of await this.#network.links()) if (taps.test(link.name)) await remove(link.name)
    rmSync(directory, { recursive: true, force: true })
  }

  async adopt({ name }: LaunchSpec): Promise<boolean> {
    const pid = this.#pid(name)
    if (!lives(pid, markOf(this.#of(name)))) return false
    this.#running.set(name, pid)
    return true
  }

  async sweep(known: ReadonlySet<string>): Promise<void> {
    for (const name of exists(this.#directory) ? readdirSync(this.#directory) : [])
      if (!known.has(name)) await this.#end(name)
  }

  failure(name: string): string | undefined {
    const pid = this.#running.get(name)
    if (pid === undefined || lives(pid, markOf(this.#of(name)))) return undefined
    return `its machine has ended: ${lastLine(join(this.#of(name), 'log')) || 'it said nothing'}`
  }

  #pid(name: string): number {
    return Number.parseInt(readText(join(this.#of(name), 'qemu.pid')), 10) || 0
  }

  #of(name: string): string {
    return join(this.#directory, name)
  }
}

function configOf({ function: { driver } }: LaunchSpec): QemuConfig {
  if (driver.kind !== 'qemu') throw new TypeError(`${driver.kind} is another driver's`)
  return driver
}

const markOf = (directory: string) => `BRANCHLINE_KEPT=${directory}`

function environment(spec: LaunchSpec, health: string | undefined): string[] {
  const nat = spec.nat.map(address => `branchline.nat${address.includes(':') ? 6 : 4}=${address}`)
  return [`branchline.instance=${spec.name}`, ...nat, ...(health === undefined ? [] : [`branchline.health=${health}`])]
}

function nic(spec: LaunchSpec, slot: number, side: Side): string[] {
  const id = `${side}${slot}`
  return [
    '-netdev',
    `tap,id=${id},ifname=${deviceOf(spec.number, slot, side)},script=no,downscript=no`,
    '-device',
    `virtio-net-pci,netdev=${id},mac=${macOf(spec.number, slot, side, 'instance')},romfile=`,
  ]
}

function qemuArguments(config: QemuConfig, directory: string, words: readonly string[], kvm: boolean): string[] {
  return [
    '-nodefaults -no-user-config -no-reboot -display none -machine pc'.split(' '),
    kvm ? ['-accel', 'kvm', '-cpu', 'host'] : ['-accel', 'tcg,thread=multi,tb-size=64', '-cpu', 'max'],
    ['-smp', String(config.cpus), '-m', String(config.memoryMb)],
    ['-serial', `file:${join(directory, 'console')}`],
    ['-qmp', `unix:${join(directory, 'qmp')},server=on,wait=off`],
    ['-fw_cfg', `name=opt/branchline/environment,file=${join(directory, 'environment')}`],
    config.kernel === undefined
      ? []
      : ['-kernel', config.kernel, '-append', ['console=ttyS0', config.append, ...words].filter(Boolean).join(' ')],
    config.initrd === undefined ? [] : ['-initrd', config.initrd],
    config.disk === undefined ? [] : ['-drive', `file=${config.disk},if=virtio,snapshot=on`],
    Object.entries(config.shares).flatMap(([tag, path]) => [
      '-virtfs',
      `local,path=${path},mount_tag=${tag},security_model=none,multidevs=remap,readonly=on`,
    ]),
  ].flat()
}

/** A boot sector that turns the machine off (QEMU's isa-debug-exit): any way to its end shows that guest code runs. */
async function probeKvm(directory: string): Promise<boolean> {
  if (!exists('/dev/kvm')) return false
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const sector = join(directory, '..', 'kvm-probe.img')
  // mov al, 1; mov dx, 0xf4; out dx, al; hlt
  const code = Buffer.alloc(512)
  code.set([0xb0, 0x01, 0xba, 0xf4, 0x00, 0xee, 0xf4])
  code.set([0x55, 0xaa], 510)
  writeFileSync(sector, code)
  const args = '-nodefaults -display none -machine pc -accel kvm -m 16 -device isa-debug-exit,iobase=0xf4,iosize=1'
  try {
    await run('timeout', ['5', QEMU, ...args.split(' '), '-drive', `file=${sector},format=raw,if=ide`])
    return false
  } catch (error) {
    // isa-debug-exit ends QEMU with (value << 1) | 1: an exit code that QEMU itself does not have.
    return error instanceof Error && error.cause instanceof Error && 'code' in error.cause && error.cause.code === 3
  } finally {
    rmSync(sector, { force: true })
  }
}

function remove(device: string): Promise<string | undefined> {
  return run('ip', ['link', 'delete', device]).catch(error => {
    if (/Cannot find device/.test(String(error.message))) return undefined
    throw error
  })
}
