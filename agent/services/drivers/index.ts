/** The drivers of this machine, by kind. */
import { join } from 'node:path'
import type { Network } from '../../kernel/port.ts'
import type { FunctionConfig } from '../config.ts'
import type { InstanceDriver } from '../driver.ts'
import { NamespaceDriver } from './namespace.ts'
import { QemuDriver } from './qemu.ts'
import { RemoteDriver } from './remote.ts'

export type Drivers = Readonly<Record<FunctionConfig['driver']['kind'], InstanceDriver>>

export function linuxDrivers(runDir: string, network: Network): Drivers {
  return {
    namespace: new NamespaceDriver(join(runDir, 'namespaces'), network),
    qemu: new QemuDriver(join(runDir, 'machines'), network),
    remote: new RemoteDriver(network),
  }
}
