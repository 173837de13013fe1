/** The version of package.json: written in by the bundler, read beside the sources otherwise. */
import { readFileSync } from 'node:fs'
import { z } from 'zod'

declare const BRANCHLINE_VERSION: string | undefined

export function version(): string {
  if (typeof BRANCHLINE_VERSION === 'string') return BRANCHLINE_VERSION
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  return z.object({ version: z.string() }).parse(JSON.parse(text)).version
}
