/**
 * Instances as network namespaces of this machine: for functions that need no system of their own, and for trying things out.
 *
 *   gateway  bls3i0 ==== in0  instance 3: a process (the keeper) that holds network, mount and process namespaces,
 *            bls3o0 ==== out0             and in them the function's `run` (vagrant/functions/README.md)
 *            bls3m0 ==== mgmt0            health checks
 *
 * A folder for each instance in the run directory says what belongs to it. The keeper is the first process of its process namespace: the kernel ends
 * everything with it, devices included.
 */
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Network } from '../../kernel/port.ts'
import type { NamespaceConfig } from '../config.ts'
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

const GRACE_MS = 3000
/** `echo` before `exec`: even an agent that dies now leaves a process that its successor finds. */
const KEEPER = `echo $$ >"$1/keeper.pid" && exec unshare --net --mount --pid --fork --kill-child --mount-proc \
sh -c 'mount -t sysfs sysfs /sys && ip link set lo up && echo up >"$1/up" && exec sleep infinity' sh "$1"`
const RUN = `echo $$ >"$1/run.pid" && exec nsenter --net="/proc/$2/ns/net" --mount="/proc/$2/ns/mnt" \
--pid="/proc/$2/ns/pid_for_children" -- sh -c 'trap : TERM; "$1"; echo $? >"$2/ended"' sh "$3" "$1"`

interface Running {
  keeper: number
  run: number
}

export class NamespaceDriver implements InstanceDriver {
  readonly #directory: string
  readonly #network: Network
  readonly #running = new Map<string, Running>()

  /** @param directory of all instances of this node */
  constructor(directory: string, network: Network) {
    this.#directory = directory
    this.#network = network
  }

  async launch(spec: LaunchSpec): Promise<Launched> {
    const config = configOf(spec)
    const directory = this.#of(spec.name)
    await this.stop(spec)
    mkdirSync(join(directory, 'own'), { recursive: true, mode: 0o700 })
    try {
      await start('sh', ['-c', KEEPER, 'sh', directory], join(directory, 'log'), environment(spec, directory))
      await this.#wait(spec, 'up', join(directory, 'up'), () => this.#pid(spec.name, 'keeper'))
      const keeper = this.#pid(spec.name, 'keeper')
      const health = await this.#manage(spec, keeper)
      await start(
        'sh',
        ['-c', RUN, 'sh', directory, String(keeper), config.run],
        join(directory, 'said'),
        environment(spec, directory, health && `${health.address}:${health.port}`),
      )
      this.#running.set(spec.name, { keeper, run: 0 })
      const ready = () => /^ready$/m.test(readText(join(directory, 'said')))
      await this.#waitFor(spec, 'ready', ready, () => this.#pid(spec.name, 'run'))
      this.#running.set(spec.name, { keeper, run: this.#pid(spec.name, 'run') })
      return { health, where: `process ${keeper}` }
    } catch (error) {
      await this.stop(spec)
      throw error
    }
  }

  async #manage(spec: LaunchSpec, keeper: number): Promise<Launched['health']> {
    if (spec.function.health.kind === 'none') return undefined
    const pair = managementPair(spec.number)
    const device = deviceOf(spec.number, 0, 'management')
    await this.#cable(spec, keeper, { slot: 0, side: 'management', name: 'mgmt0', mtu: 1500 })
    await ip(`addr add ${pair.gateway}/30 dev ${device}`)
    await inside(keeper, 'ip', ['addr', 'add', `${pair.instance}/30`, 'dev', 'mgmt0'])
    return { address: pair.instance, port: spec.function.health.port }
  }

  async attach(spec: LaunchSpec, slot: number): Promise<AdapterSide> {
    const keeper = this.#keeper(spec)
    const { attachment, mtu } = spec.function
    const oneArm = attachment.kind === 'ethernet' && attachment.arms === 1
    const sides: Side[] = oneArm ? ['arm'] : ['inside', 'outside']
    for (const side of sides) await this.#cable(spec, keeper, { slot, side, name: nameInside(side, slot), mtu })
    const gatewayMac = (side: Side) => macOf(spec.number, slot, side, 'gateway')
    await inside(
      keeper,
      configOf(spec).plumb,
      oneArm
        ? [`arm${slot}`, '', gatewayMac('arm')]
        : [`in${slot}`, `out${slot}`, gatewayMac('inside'), gatewayMac('outside')],
    )
    const links = await this.#network.links()
    const [insideIfindex, outsideIfindex] = [sides[0], sides.at(-1)].map(side => {
      const name = deviceOf(spec.number, slot, side as Side)
      const link = links.find(each => each.name === name)
      if (!link) throw new Error(`${spec.name}: device ${name} is not there`)
      return link.ifindex
    }) as [number, number]
    return {
      kind: 'ethernet',
      mtu,
      insideIfindex,
      outsideIfindex,
      insideMac: macOf(spec.number, slot, sides[0] as Side, 'instance'),
      outsideMac: macOf(spec.number, slot, sides.at(-1) as Side, 'instance'),
    }
  }

  /** A veth pair, one end in the instance. One that is there already was half made by a former agent: it is made anew. */
  async #cable(
    spec: LaunchSpec,
    keeper: number,
    { slot, side, name, mtu }: { slot: number; side: Side; name: string; mtu: number },
  ): Promise<void> {
    const device = deviceOf(spec.number, slot, side)
    await remove(device)
    await ip(
      `link add ${device} mtu ${mtu} address ${macOf(spec.number, slot, side, 'gateway')} type veth ` +
        `peer name ${name} mtu ${mtu} address ${macOf(spec.number, slot, side, 'instance')} netns ${keeper}`,
    )
    // Nothing of the gateway's own goes there, above all no neighbour discovery.
    if (side !== 'management') this.#network.setSysctl(`ipv6/conf/${device}/disable_ipv6`, '1')
    await inside(keeper, 'ip', ['link', 'set', name, 'up'])
    await ip(`link set ${device} up`)
  }

  async detach(spec: LaunchSpec, slot: number): Promise<void> {
    const running = this.#running.get(spec.name)
    if (running) {
      const names = (['inside', 'outside', 'arm'] as const).map(side => nameInside(side, slot))
      await inside(running.keeper, configOf(spec).plumb, ['remove', ...names]).catch(() => {})
    }
    for (const side of ['inside', 'outside', 'arm'] as const) await remove(deviceOf(spec.number, slot, side))
  }

  stop(spec: LaunchSpec): Promise<void> {
    return this.#end(spec.name)
  }

  async #end(name: string): Promise<void> {
    const directory = this.#of(name)
    this.#running.delete(name)
    const mark = markOf(directory)
    const [keeper, pid] = [this.#pid(name, 'keeper'), this.#pid(name, 'run')]
    if (signalGroup(pid, mark, 'SIGTERM')) await until(() => exists(join(directory, 'ended')), GRACE_MS)
    signalGroup(pid, mark, 'SIGKILL')
    if (signalGroup(keeper, mark, 'SIGKILL')) await until(() => !lives(keeper, mark), GRACE_MS)
    rmSync(directory, { recursive: true, force: true })
  }

  async adopt(spec: LaunchSpec): Promise<boolean> {
    const [keeper, pid] = [this.#pid(spec.name, 'keeper'), this.#pid(spec.name, 'run')]
    const mark = markOf(this.#of(spec.name))
    if (!lives(keeper, mark) || !lives(pid, mark)) return false
    this.#running.set(spec.name, { keeper, run: pid })
    return true
  }

  async sweep(known: ReadonlySet<string>): Promise<void> {
    for (const name of exists(this.#directory) ? readdirSync(this.#directory) : [])
      if (!known.has(name)) await this.#end(name)
  }

  failure(name: string): string | undefined {
    const running = this.#running.get(name)
    if (!running || running.run === 0) return undefined
    const mark = markOf(this.#of(name))
    if (lives(running.run, mark) && lives(running.keeper, mark)) return undefined
    return `its function has ended: ${lastLine(join(this.#of(name), 'said')) || 'it said nothing'}`
  }

  #keeper({ name }: LaunchSpec): number {
    const running = this.#running.get(name)
    if (!running) throw new Error(`${name} does not run`)
    return running.keeper
  }

  #wait(spec: LaunchSpec, what: string, file: string, pid: () => number): Promise<void> {
    return this.#waitFor(spec, what, () => exists(file), pid)
  }

  async #waitFor(spec: LaunchSpec, what: string, condition: () => boolean, pid: () => number): Promise<void> {
    const directory = this.#of(spec.name)
    const mark = markOf(directory)
    const born = performance.now()
    // A process that has only just been started has no pid file yet.
    const gone = () => performance.now() - born > 1000 && !lives(pid(), mark)
    await until(() => condition() || gone(), spec.function.startMs)
    if (condition()) return
    const said = lastLine(join(directory, 'said')) || lastLine(join(directory, 'log'))
    throw new Error(`${gone() ? 'it ended' : `not ${what} within ${spec.function.startMs} ms`}${said && `: ${said}`}`)
  }

  #pid(name: string, what: 'keeper' | 'run'): number {
    return Number.parseInt(readText(join(this.#of(name), `${what}.pid`)), 10) || 0
  }

  #of(name: string): string {
    return join(this.#directory, name)
  }
}

function configOf({ function: { driver } }: LaunchSpec): NamespaceConfig {
  if (driver.kind !== 'namespace') throw new TypeError(`${driver.kind} is another driver's`)
  return driver
}

/** In the environment of all processes that the driver starts, and of no others. */
const markOf = (directory: string) => `BRANCHLINE_KEPT=${directory}`

function environment(spec: LaunchSpec, directory: string, health?: string): NodeJS.ProcessEnv {
  const nat4 = spec.nat.find(address => !address.includes(':'))
  const nat6 = spec.nat.find(address => address.includes(':'))
  return {
    PATH: process.env.PATH,
    ...configOf(spec).env,
    BRANCHLINE_KEPT: directory,
    BRANCHLINE_INSTANCE: spec.name,
    BRANCHLINE_DIR: join(directory, 'own'),
    ...(nat4 !== undefined && { BRANCHLINE_NAT4: nat4 }),
    ...(nat6 !== undefined && { BRANCHLINE_NAT6: nat6 }),
    ...(health !== undefined && { BRANCHLINE_HEALTH: health }),
  }
}

const nameInside = (side: Side, slot: number) =>
  `${side === 'inside' ? 'in' : side === 'outside' ? 'out' : 'arm'}${slot}`

function inside(keeper: number, command: string, args: readonly string[]): Promise<string> {
  return run('nsenter', [`--net=/proc/${keeper}/ns/net`, `--mount=/proc/${keeper}/ns/mnt`, '--', command, ...args])
}

function remove(device: string): Promise<string | undefined> {
  return run('ip', ['link', 'delete', device]).catch(error => {
    if (/Cannot find device/.test(String(error.message))) return undefined
    throw error
  })
}
