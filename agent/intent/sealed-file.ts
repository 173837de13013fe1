/**
 * Small files that are read whole or not at all: one header line, then JSON.
 *
 *   branchline <kind> <version> <SHA-256 of the rest, hex>\n{...}\n
 *
 * Written beside and renamed over, with the data on disk before the name (rename(2), fsync(2)); a crash leaves the old file or the new one.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { z } from 'zod'
import { IntentError } from './error.ts'

const VERSION = 1
const AGAIN = 'activate this node again with a new key (branchline agent activate)'

export async function writeSealed(file: string, kind: string, content: unknown): Promise<void> {
  const body = `${JSON.stringify(content)}\n`
  const draft = `${file}.new`
  const handle = await open(draft, 'w', 0o600)
  try {
    await handle.writeFile(`branchline ${kind} ${VERSION} ${sum(body)}\n${body}`)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(draft, file)
  const directory = await open(dirname(file))
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

/** @throws IntentError `not-activated` when the file is not there, `state` when it cannot be trusted */
export function readSealed<T>(file: string, kind: string, schema: z.ZodType<T>): T {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') {
      throw new IntentError('not-activated', `${file} is missing: ${AGAIN}`, { cause })
    }
    throw new IntentError(
      'state',
      `${file} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    )
  }
  const end = text.indexOf('\n')
  const [magic, found, version, expected] = text.slice(0, Math.max(end, 0)).split(' ')
  const body = text.slice(end + 1)
  if (magic !== 'branchline' || found !== kind)
    throw new IntentError('state', `${file} is not a Branchline ${kind} file: ${AGAIN}`)
  if (version !== String(VERSION)) {
    throw new IntentError(
      'state',
      `${file} was written by another version (format ${version}, this one reads ${VERSION}): ${AGAIN}`,
    )
  }
  if (sum(body) !== expected)
    throw new IntentError('state', `${file} is damaged, its checksum does not match: ${AGAIN}`)
  const parsed = schema.safeParse(JSON.parse(body))
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new IntentError('state', `${file}: ${issue?.path.join('.')}: ${issue?.message}: ${AGAIN}`, {
    cause: parsed.error,
  })
}

function sum(body: string): string {
  return createHash('sha256').update(body).digest('hex')
}
