/**
 * Ends with 0 when node_modules holds what package-lock.json asks for, no more and no less.
 * npm keeps what it installed in node_modules/.package-lock.json. Plain JavaScript: the machine's own Node runs it before anything is installed.
 */

import { existsSync, readFileSync } from 'node:fs'

const installed = 'node_modules/.package-lock.json'
const packages = file => JSON.parse(readFileSync(file, 'utf8')).packages

/** Optional packages are for one platform each; those of other platforms are rightly absent. Nothing may be there that is not locked. */
function isCurrent() {
  if (!existsSync(installed) || !existsSync('node_modules/.bin/node')) return false
  const have = packages(installed)
  const want = packages('package-lock.json')
  const missing = Object.entries(want).filter(
    ([path, { version, optional }]) =>
      path !== '' && have[path]?.version !== version && !(optional && have[path] === undefined),
  )
  const unlocked = Object.keys(have).filter(path => want[path] === undefined)
  return missing.length + unlocked.length === 0
}

process.exitCode = isCurrent() ? 0 : 1
