/** Debian packages that only some suites need: installed when such a suite is about to run. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { BenchError } from './error.ts'

export interface AptPackage {
  readonly name: string
  /** A file that it installs: a look at it is quicker than asking dpkg. */
  readonly file: string
}

/** @throws BenchError when apt cannot */
export function installPackages(packages: readonly AptPackage[]): void {
  const missing = packages.filter(({ file }) => !existsSync(file)).map(({ name }) => name)
  if (missing.length === 0) return
  console.error(`bench: apt packages: ${missing.join(' ')}`)
  apt('update')
  apt('install', ...missing)
}

// Another apt may be running: wait for it.
const OPTIONS = ['-qq', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=120']

function apt(...command: readonly string[]): void {
  const { status } = spawnSync('apt-get', [...OPTIONS, ...command], {
    stdio: ['ignore', 2, 2],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  })
  if (status !== 0) throw new BenchError(`apt-get ${command.join(' ')} failed; check the network and the apt sources`)
}
