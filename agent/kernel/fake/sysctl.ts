/** The keys below /proc/sys/net that the agent uses: those of devices come and go with them. */
import { KernelError } from '../error.ts'

const GLOBAL_KEYS = ['ipv4/ip_forward', 'ipv6/conf/all/forwarding']

export class FakeSysctls {
  readonly #hasDevice: (name: string) => boolean
  readonly #values = new Map<string, string>()

  constructor(hasDevice: (name: string) => boolean) {
    this.#hasDevice = hasDevice
  }

  get(key: string): string | undefined {
    return this.#exists(key) ? (this.#values.get(key) ?? '0') : undefined
  }

  set(key: string, value: string): void {
    if (!this.#exists(key)) throw new KernelError('write', `sysctl net/${key}`, 'ENOENT')
    this.#values.set(key, value)
  }

  #exists(key: string): boolean {
    const device = /^ipv[46]\/conf\/([^/]+)\/[a-z0-9_]+$/.exec(key)?.[1]
    if (device === undefined) return GLOBAL_KEYS.includes(key)
    return device === 'all' || device === 'default' || this.#hasDevice(device)
  }
}
