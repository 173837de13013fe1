/** The Internet of a lab: a web server with a clean file and the EICAR test file, which tells who asked it; and what hosts get from it. */
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { EICAR } from './eicar.ts'
import type { Lab } from './lab.ts'
import type { LabProcess } from './process.ts'
import { claim } from './story.ts'
import { hostAddress } from './traffic.ts'
import { until } from './until.ts'

export const CLEAN_BYTES = 10 * 1024 * 1024
const LISTEN_DEADLINE_MS = 20_000
const FETCH_S = 120
const ANSWER_S = 5
/** What busybox writes of a request: `[::ffff:198.18.0.101]:40012: url:/clean.bin` */
const ASKED = /^\[(?:::ffff:)?([0-9a-f.:]+)\]:\d+: url:\/(\S+)$/gm

export interface Fetched {
  /** of HTTP; 0: there was no answer */
  readonly status: number
  readonly sha256: string
  /** what curl complains of */
  readonly error: string
}

export class Web {
  readonly cleanSha256: string
  readonly #lab: Lab
  readonly #process: LabProcess

  static async start(lab: Lab): Promise<Web> {
    const folder = join(lab.sharedFolder('web'), 'files')
    mkdirSync(folder, { recursive: true })
    const clean = randomBytes(CLEAN_BYTES)
    writeFileSync(join(folder, 'clean.bin'), clean)
    writeFileSync(join(folder, 'eicar.com'), EICAR)
    writeFileSync(join(folder, 'hello'), 'hello\n')
    const argv = ['busybox', 'httpd', '-f', '-vv', '-p', '[::]:80', '-h', folder]
    const process = await lab.start('web', { name: 'web', argv })
    await listens(lab, 'web', 80)
    return new Web(lab, process, createHash('sha256').update(clean).digest('hex'))
  }

  private constructor(lab: Lab, process: LabProcess, cleanSha256: string) {
    this.#lab = lab
    this.#process = process
    this.cleanSha256 = cleanSha256
  }

  /** Is there an answer to a short question? For what is expected soon. */
  async answers(from: string, family: 4 | 6): Promise<boolean> {
    return (await this.get(from, family, 'hello', ANSWER_S)).status === 200
  }

  async get(from: string, family: 4 | 6, path: string, seconds = FETCH_S): Promise<Fetched> {
    const address = hostAddress(this.#lab, 'web', family)
    const url = `http://${family === 6 ? `[${address}]` : address}/${path}`
    const script = `curl -sS --max-time ${seconds} -w '%{stderr}%{http_code}' ${url} | sha256sum`
    const { stdout, stderr } = await this.#lab.exec(from, ['sh', '-c', script])
    return {
      status: Number(/\d{3}$/.exec(stderr.trim())?.[0] ?? 0),
      sha256: stdout.split(' ')[0] ?? '',
      error: stderr.trim().replace(/\n?\d{3}$/, ''),
    }
  }

  /** The clean file must come as it is. */
  async getClean(from: string, family: 4 | 6): Promise<void> {
    const { status, sha256, error } = await this.get(from, family, 'clean.bin')
    claim(status === 200, `${from} gets ${status} over IPv${family} instead of the file: ${error}`)
    claim(sha256 === this.cleanSha256, `${from} gets another file over IPv${family} than the server has: ${error}`)
  }

  /** Addresses that asked for the file, each as often as it did. */
  askedFor(path: string): string[] {
    return [...this.#process.output().matchAll(ASKED)].flatMap(([, from = '', what]) => (what === path ? [from] : []))
  }
}

export async function listens(lab: Lab, node: string, port: number): Promise<void> {
  await until(`somebody listens on port ${port} of ${node}`, LISTEN_DEADLINE_MS, async () =>
    (await lab.run(node, ['ss', '-Hltn', `sport = :${port}`])).includes('LISTEN'),
  )
}
