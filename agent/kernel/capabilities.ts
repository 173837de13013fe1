/** What this machine can do, found by trying; every problem says what to do about it in one line. */
import { spawnSync } from 'node:child_process'
import { existsSync, statfsSync } from 'node:fs'
import { release } from 'node:os'
import { KernelError } from './error.ts'
import { errnoName, lastErrno, libc } from './native.ts'
import type { Capabilities, Network, Xfrm } from './port.ts'

/** tcx links came with 6.6; 6.12 is the oldest kernel that all of it was proved on. */
const OLDEST = { major: 6, minor: 12 }
const BPFFS = '/sys/fs/bpf'
const BPF_FS_MAGIC = 0xcafe4a11

const mount: (source: string, target: string, type: string, flags: number, data: null) => number = libc.func(
  'int mount(const char *, const char *, const char *, ulong, const void *)',
)

export async function probeCapabilities(network: Network, xfrm: Xfrm): Promise<Capabilities> {
  const kernel = release()
  const root = process.geteuid?.() === 0
  const problems = [kernelProblem(kernel), root ? undefined : 'not root: run the agent as root']
  if (root) problems.push(bpffsProblem(), ...['esp4_offload', 'esp6_offload'].map(offloadProblem))
  const espReason = root ? await espProblem(network, xfrm) : 'not root'
  return {
    kernel,
    esp: espReason === undefined,
    espReason,
    problems: problems.filter(problem => problem !== undefined),
  }
}

export function kernelProblem(kernel: string): string | undefined {
  const [major = 0, minor = 0] = kernel.split('.').map(part => Number.parseInt(part, 10))
  if (major > OLDEST.major || (major === OLDEST.major && minor >= OLDEST.minor)) return undefined
  return `kernel ${kernel} is too old: install 6.12 or newer (Debian 12: linux-image-amd64 of bookworm-backports)`
}

/** Mounts the bpffs where distributions have it, when it is not there yet. */
function bpffsProblem(): string | undefined {
  if (isBpffs()) return undefined
  const result = mount('bpf', BPFFS, 'bpf', 0, null)
  const reason = result < 0 ? errnoName(lastErrno()) : 'mounted, but not seen'
  return isBpffs() ? undefined : `no bpffs at ${BPFFS} (${reason}): mount -t bpf bpf ${BPFFS}`
}

function isBpffs(): boolean {
  return existsSync(BPFFS) && statfsSync(BPFFS).type === BPF_FS_MAGIC
}

/** With ESP offload the kernel hands packets to mp0 before they are encrypted. */
function offloadProblem(module: string): string | undefined {
  if (!existsSync(`/sys/module/${module}`)) return undefined
  return `module ${module} is loaded: rmmod ${module} and put "install ${module} /bin/false" into /etc/modprobe.d/branchline.conf`
}

/** Makes an SA and, unless there is one, an xfrm interface, and takes them away again. */
async function espProblem(network: Network, xfrm: Xfrm): Promise<string | undefined> {
  // Best effort: what is built in, or has been loaded, needs none of it. The kfuncs of ipsec.bpf.c live in xfrm_interface.
  for (const module of ['xfrm_interface', 'esp4', 'esp6']) spawnSync('modprobe', ['-q', module], { stdio: 'ignore' })
  try {
    await probeAssociation(xfrm)
    await probeInterface(network)
    return undefined
  } catch (error) {
    if (error instanceof KernelError) return `this kernel has no usable ESP: ${error.message}`
    throw error
  }
}

async function probeAssociation(xfrm: Xfrm): Promise<void> {
  // From TEST-NET-1 (RFC 5737) to itself, under an SPI that another probe does not use: no packet can meet it.
  const probe = { source: '192.0.2.1', destination: '192.0.2.1', spi: 0xb4000000 + process.pid }
  await xfrm.addAssociation({ ...probe, direction: 'in', ifId: 1, key: new Uint8Array(20), replayWindow: 4096 })
  await xfrm.deleteAssociation(probe)
}

async function probeInterface(network: Network): Promise<void> {
  const links = await network.links()
  if (links.some(link => link.kind === 'xfrm')) return
  const link = await network.createLink({ kind: 'xfrm', name: `blprobe${process.pid}`, mtu: 1280 })
  await network.deleteLink(link.ifindex)
}
