/**
 * node scripts/bundle.ts [entry] [outdir]    (npm run build; defaults: cli/main.ts, dist)
 * Bundles the command into <outdir>/branchline.js with a source map and puts the BPF objects into <outdir>/bpf. One file starts ten
 * times as fast as the packages it is made of (STACK.md). What carries native code or wasm files stays outside and is resolved from
 * node_modules at run time.
 */

import { chmodSync, cpSync, globSync, mkdirSync, rmSync, statSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { build } from 'esbuild'
import { version } from '../agent/version.ts'

const EXTERNAL = [
  'koffi',
  '@electric-sql/pglite',
  '@electric-sql/pglite/*',
  'pg-native',
  'cbor-extract',
  'bufferutil',
  'utf-8-validate',
]

const repo = resolve(import.meta.dirname, '..')
const [entry = join(repo, 'cli/main.ts'), outdir = join(repo, 'dist')] = process.argv.slice(2)
const outfile = join(outdir, 'branchline.js')

await build({
  entryPoints: [entry],
  outfile,
  bundle: true,
  platform: 'node',
  target: 'node24',
  format: 'esm',
  external: EXTERNAL,
  sourcemap: true,
  legalComments: 'none',
  define: { BRANCHLINE_VERSION: JSON.stringify(version()) },
  logLevel: 'warning',
  // CommonJS packages call require, which an ES module lacks.
  banner: {
    js: '#!/usr/bin/env node\nimport { createRequire as branchlineRequire } from "node:module"; const require = branchlineRequire(import.meta.url);',
  },
})
chmodSync(outfile, 0o755)

const objects = globSync('bpf/out/*.bpf.o', { cwd: repo })
rmSync(join(outdir, 'bpf'), { recursive: true, force: true })
mkdirSync(join(outdir, 'bpf'), { recursive: true })
for (const object of objects) cpSync(join(repo, object), join(outdir, 'bpf', basename(object)))
// The orchestrator looks for them beside the bundle.
rmSync(join(outdir, 'migrations'), { recursive: true, force: true })
cpSync(join(repo, 'orchestrator/store/migrations'), join(outdir, 'migrations'), { recursive: true })
console.log(`${outfile}: ${Math.round(statSync(outfile).size / 1024)} kB, ${objects.length} BPF objects`)
