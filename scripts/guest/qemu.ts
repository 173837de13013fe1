/** The QEMU command line of the guest (facts: LAB.md) and its process. */

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, openSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { GuestError } from './error.ts'
import { REPO, type RunDir } from './rundir.ts'

export type Machine = {
  readonly memoryMb: number
  /** TCP port on the host's loopback that leads to the guest's agent */
  readonly port: number
  /** false: the guest dies with this process, however it dies */
  readonly detach: boolean
}

/** Throws GuestError when QEMU or the kernel is missing. */
export function spawnQemu(dir: RunDir, machine: Machine): ChildProcess {
  const [command, args] = machine.detach
    ? ['qemu-system-x86_64', qemuArguments(dir, machine)]
    : // The kernel sends the signal when the thread that spawned QEMU ends, so a kill -9 of this process leaves nothing.
      ['setpriv', ['--pdeathsig', 'KILL', '--', 'qemu-system-x86_64', ...qemuArguments(dir, machine)]]
  const log = openSync(join(dir.path, 'qemu.log'), 'a')
  return spawn(command, args, { stdio: ['ignore', log, log], detached: machine.detach })
}

function qemuArguments(dir: RunDir, machine: Machine): string[] {
  const image = guestImage()
  if (/[\s,]/.test(REPO))
    throw new GuestError(
      'path',
      `the repository's path ${REPO} holds a blank or comma, which a kernel command line cannot carry`,
    )
  const words = [
    'console=ttyS0 quiet loglevel=4 panic=-1 nowatchdog no_timer_check mitigations=off random.trust_cpu=on',
    `branchline.repo=${REPO}`,
    `branchline.share=${dir.share}`,
  ]
  return [
    '-nodefaults -no-user-config -no-reboot -display none'.split(' '),
    accelerator(),
    ['-smp', '2', '-m', String(machine.memoryMb)],
    ['-kernel', join(image, 'vmlinuz'), '-initrd', join(image, 'initramfs.cpio'), '-append', words.join(' ')],
    ['-serial', `file:${dir.console}`],
    ['-device', 'virtio-rng-pci'],
    share('host', '/', 'readonly=on'),
    share('repo', REPO, 'readonly=on'),
    share('modules', join(REPO, 'node_modules'), 'readonly=on'),
    share('share', dir.share, 'readonly=off'),
    // Commands only: restrict=on lets nothing but the forwarded port in or out.
    [
      '-netdev',
      `user,id=control,ipv6=off,restrict=on,net=10.0.3.0/24,hostfwd=tcp:127.0.0.1:${machine.port}-10.0.3.15:7`,
    ],
    ['-device', 'virtio-net-pci,romfile=,netdev=control,mac=52:54:00:00:00:01'],
    // romfile=: no boot ROM, which Debian keeps in a package of its own.
    // Nodes: 10.0.2.2 is the host's loopback. The guest has no default route, so it reaches nothing else.
    ['-netdev', 'user,id=nodes,ipv6=off,net=10.0.2.0/24'],
    ['-device', 'virtio-net-pci,romfile=,netdev=nodes,mac=52:54:00:00:00:02'],
  ].flat()
}

function share(tag: string, path: string, mode: string): string[] {
  return ['-virtfs', `local,path=${path},mount_tag=${tag},security_model=none,multidevs=remap,${mode}`]
}

/**
 * TCG unless BRANCHLINE_GUEST_ACCEL=kvm: some hypervisors offer a /dev/kvm on which stock kernels hang.
 * tb-size caps the translation cache, which would otherwise grow to a quarter of the host's memory.
 */
function accelerator(): string[] {
  const wanted = process.env.BRANCHLINE_GUEST_ACCEL ?? 'tcg'
  if (wanted === 'kvm') return ['-accel', 'kvm', '-cpu', 'host']
  if (wanted === 'tcg') return ['-accel', 'tcg,thread=multi,tb-size=256', '-cpu', 'max']
  throw new GuestError('accelerator', `BRANCHLINE_GUEST_ACCEL=${wanted}: use tcg or kvm`)
}

/** The folder that scripts/guest/fetch made. */
function guestImage(): string {
  const cache = join(REPO, '.cache/guest')
  const current = join(cache, 'current')
  if (!existsSync(current)) throw new GuestError('no-kernel', 'no guest kernel yet; run npm run setup')
  return join(cache, readFileSync(current, 'utf8').trim())
}

/** A TCP port that is free on the host's loopback now; QEMU has no way to tell which port it took. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      server.close(() => resolve(port))
    })
  })
}
