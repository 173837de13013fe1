/**
 * Ends with 0 when node_modules holds what package-lock.json asks for, also when npm install rather than npm ci put it there.
 * npm keeps what it installed in node_modules/.package-lock.json. Plain JavaScript: the machine's own Node runs it before npm ci.
 */

import { existsSync, readFileSync } from 'node:fs'

const installed = 'node_modules/.package-lock.json'
const packages = file => JSON.parse(readFileSync(file, 'utf8')).packages

/** Optional packages are for one platform each; those of other platforms are rightly absent. */
function isCurrent() {
  if (!existsSync(installed) || !existsSync('node_modules/.bin/node')) return false
  const have = packages(installed)
  return Object.entries(packages('package-lock.json')).every(
    ([path, want]) => path === '' || (have[path]?.version ?? (want.optional && want.version)) === want.version,
  )
}

process.exitCode = isCurrent() ? 0 : 1
