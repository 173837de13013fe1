/** Bodies: each is spooled to a file without a name while clamd reads it (INSTREAM, clamd(8)), and may be read when clamd has said that it is clean. */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type FileHandle, open, unlink } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { Readable } from 'node:stream'

export interface Spooled {
  /** undefined: nothing was found */
  readonly virus: string | undefined
  readonly bytes: number
  /** Once; closes the file at its end. */
  read(): Readable
  close(): Promise<void>
}

export interface ScanOptions {
  readonly folder: string
  readonly clamdPort: number
  readonly maxBytes: number
}

const CLAMD_MS = 120_000

/** @throws when it is too large, its source fails, or clamd does not say what it is */
export async function scan(body: Readable, { folder, clamdPort, maxBytes }: ScanOptions): Promise<Spooled> {
  const file = await openUnnamed(folder)
  const clamd = connect(clamdPort, '127.0.0.1')
  clamd.setTimeout(CLAMD_MS, () => clamd.destroy(new Error('clamd is silent')))
  try {
    const answer = readAll(clamd)
    // It may fail before it is awaited, while the body still comes.
    answer.catch(() => body.destroy())
    let bytes = 0
    clamd.write('zINSTREAM\0')
    for await (const chunk of body as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > maxBytes) throw new Error(`more than ${maxBytes} bytes cannot be scanned`)
      const length = Buffer.alloc(4)
      length.writeUInt32BE(chunk.length)
      clamd.write(length)
      if (!clamd.write(chunk)) await once(clamd, 'drain')
      await file.writeFile(chunk)
    }
    clamd.end(Buffer.alloc(4))
    const virus = readVerdict(await answer)
    return {
      virus,
      bytes,
      read: () => file.createReadStream({ start: 0 }),
      close: () => file.close(),
    }
  } catch (error) {
    await file.close()
    throw error
  } finally {
    clamd.destroy()
  }
}

/** `stream: OK`, `stream: Eicar-Test-Signature FOUND`, or an error. */
function readVerdict(answer: string): string | undefined {
  if (answer === 'stream: OK') return undefined
  const found = /^stream: (.+) FOUND$/.exec(answer)?.[1]
  if (found === undefined) throw new Error(`clamd: ${answer || 'no answer'}`)
  return found
}

async function readAll(stream: Readable): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks).toString().replace(/\0$/, '')
}

async function openUnnamed(folder: string): Promise<FileHandle> {
  const path = join(folder, randomUUID())
  const file = await open(path, 'wx+', 0o600)
  await unlink(path)
  return file
}
