/**
 * An instance as a virtual machine: the guest's kernel with nothing but a busybox that counts PCI devices.
 *
 *   bls9i0 ---- virtio-net, hot-plugged    vm-9
 *   bls9o0 ---- virtio-net, hot-plugged
 */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { LinuxNetwork } from '../../agent/kernel/network.ts'
import { servicesSchema } from '../../agent/services/config.ts'
import type { LaunchSpec } from '../../agent/services/driver.ts'
import { QemuDriver } from '../../agent/services/drivers/qemu.ts'
import { enterFreshNamespace, type Namespace } from './namespace.ts'

const guest = resolve(import.meta.dirname, '../../.cache/guest')
const kernel = join(guest, readFileSync(join(guest, 'current'), 'utf8').trim(), 'vmlinuz')
let namespace: Namespace
let network: LinuxNetwork
let directory: string
let driver: QemuDriver

beforeEach(() => {
  namespace = enterFreshNamespace()
  network = new LinuxNetwork()
  directory = mkdtempSync(join(tmpdir(), 'branchline-machines-'))
  driver = new QemuDriver(join(directory, 'machines'), network)
})
afterEach(async () => {
  await driver.sweep(new Set())
  network.close()
  namespace.leave()
  rmSync(directory, { recursive: true, force: true })
})

/** @param script of the machine's first process, behind the mounts */
function specOf(script: string, startMs = 120_000): LaunchSpec {
  const root = join(directory, 'root')
  for (const folder of ['bin', 'proc', 'sys', 'dev']) mkdirSync(join(root, folder), { recursive: true })
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'))
  const busybox = '/bin/busybox'
  const mounts = `${busybox} mount -t proc p /proc; ${busybox} mount -t sysfs s /sys; ${busybox} mount -t devtmpfs d /dev`
  writeFileSync(join(root, 'init'), `#!${busybox} sh\n${mounts}\nexec >/dev/ttyS0 2>&1\n${script}\n`)
  chmodSync(join(root, 'init'), 0o755)
  const initrd = join(directory, 'initrd')
  execFileSync('sh', ['-c', `cd "$1" && find . | cpio --quiet -o -H newc >"$2"`, 'sh', root, initrd])
  const vm = { kind: 'qemu', kernel, initrd, append: 'quiet nowatchdog mitigations=off', accelerator: 'tcg' }
  const [config] = servicesSchema.parse({ functions: [{ name: 'vm', driver: vm, startMs }] }).functions
  if (!config) throw new TypeError('no function')
  return { name: 'vm-9', number: 9, function: config, nat: ['198.51.100.9'] }
}

const said = () => readFileSync(join(directory, 'machines/vm-9/console'), 'utf8')

it('boots, gets its adapters while it runs, is adopted and ended', async () => {
  const spec = specOf(
    'echo ready; /bin/busybox cat /proc/cmdline; while :; do for d in /sys/bus/pci/devices/*; do read v <$d/vendor; [ $v = 0x1af4 ] && echo virtio $d; done; /bin/busybox sleep 1; done',
  )
  const { where } = await driver.launch(spec)
  expect(where).toMatch(/^qemu \d+, emulated$/)
  await vi.waitFor(() => expect(said()).toContain('branchline.nat4=198.51.100.9'), { timeout: 20_000 })
  expect(said()).not.toMatch(/^virtio/m)
  const side = await driver.attach(spec, 0)
  expect(side).toMatchObject({ kind: 'ethernet', insideMac: '02:b1:00:09:00:01', outsideMac: '02:b1:00:09:00:02' })
  const seen = () => new Set(said().match(/^virtio \S+/gm) ?? []).size
  await vi.waitFor(() => expect(seen()).toBe(2), { timeout: 60_000, interval: 200 })
  const next = new QemuDriver(join(directory, 'machines'), network)
  expect(await next.adopt(spec)).toBe(true)
  expect(next.failure('vm-9')).toBeUndefined()
  await next.stop(spec)
  expect(existsSync(join(directory, 'machines/vm-9'))).toBe(false)
  expect((await network.links()).filter(({ name }) => name.startsWith('bls'))).toEqual([])
  await vi.waitFor(() => expect(existsSync(`/proc/${where.match(/\d+/)?.[0]}`)).toBe(false))
}, 240_000)

it('tells why a machine did not start', async () => {
  const missing = specOf('echo ready')
  if (missing.function.driver.kind === 'qemu') missing.function.driver.kernel = '/nowhere/vmlinuz'
  await expect(driver.launch(missing)).rejects.toThrow(/^it ended: .*\/nowhere\/vmlinuz/)
})
