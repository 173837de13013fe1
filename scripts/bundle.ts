/**
 * node scripts/bundle.ts [--no-source-maps] [entry] [outdir]    (npm run build; defaults: cli/main.ts, dist)
 * Bundles the command into <outdir>/branchline.js and puts the BPF objects into <outdir>/bpf. It starts ten times as fast as the packages it is
 * made of (STACK.md). What is imported lazily lies in chunks beside it: an agent neither reads nor keeps in memory what only the orchestrator
 * needs; a worker thread is a file of its own. What carries native code or wasm files stays outside and is resolved from node_modules at run time.
 */

import { chmodSync, cpSync, globSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { build, type Plugin } from 'esbuild'
import { version } from '../agent/version.ts'
import { bundledWorker, WORKERS, type WorkerName } from '../agent/worker.ts'

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
const { values, positionals } = parseArgs({
  options: { 'source-maps': { type: 'boolean', default: true } },
  allowNegative: true,
  allowPositionals: true,
})
const [entry = join(repo, 'cli/main.ts'), outdir = join(repo, 'dist')] = positionals
const outfile = join(outdir, 'branchline.js')

const workers = Object.fromEntries(
  Object.entries(WORKERS).map(([name, file]) => [bundledWorker(name as WorkerName), join(repo, 'agent', file)]),
)

/** zod exports the messages of 50 languages, a third of its code, in a way that no bundler can leave out. */
const englishOnly: Plugin = {
  name: 'english-only',
  setup({ onResolve }) {
    onResolve({ filter: /locales\/index\.js$/ }, ({ importer, resolveDir }) =>
      importer.includes('/node_modules/zod/') ? { path: resolve(resolveDir, '../locales/en.js') } : null,
    )
  },
}

// Chunks are named by what they hold: those of an earlier build would stay.
for (const old of globSync('*.js{,.map}', { cwd: outdir })) rmSync(join(outdir, old))
const { metafile } = await build({
  entryPoints: { branchline: entry, ...workers },
  outdir,
  bundle: true,
  splitting: true,
  platform: 'node',
  target: 'node24',
  format: 'esm',
  external: EXTERNAL,
  plugins: [englishOnly],
  // Comments and blanks are a third of the text, which the process keeps. Names stay, for stack traces.
  minifySyntax: true,
  minifyWhitespace: true,
  sourcemap: values['source-maps'],
  legalComments: 'none',
  define: { BRANCHLINE_VERSION: JSON.stringify(version()) },
  logLevel: 'warning',
  metafile: true,
  // CommonJS packages call require, which an ES module lacks.
  banner: {
    js: '#!/usr/bin/env -S node --max-semi-space-size=2\nimport { createRequire as branchlineRequire } from "node:module"; const require = branchlineRequire(import.meta.url);',
  },
})
chmodSync(outfile, 0o755)
// Away from the repository Node would parse every file as CommonJS first, and find out.
writeFileSync(join(outdir, 'package.json'), '{ "type": "module" }\n')

const objects = globSync('bpf/out/*.bpf.o', { cwd: repo })
rmSync(join(outdir, 'bpf'), { recursive: true, force: true })
mkdirSync(join(outdir, 'bpf'), { recursive: true })
for (const object of objects) cpSync(join(repo, object), join(outdir, 'bpf', basename(object)))
// The orchestrator looks for them beside the bundle.
rmSync(join(outdir, 'migrations'), { recursive: true, force: true })
cpSync(join(repo, 'orchestrator/store/migrations'), join(outdir, 'migrations'), { recursive: true })
const scripts = Object.entries(metafile.outputs).filter(([file]) => file.endsWith('.js'))
const bytes = scripts.reduce((sum, [, output]) => sum + output.bytes, 0)
console.log(`${outfile}: ${Math.round(bytes / 1024)} kB in ${scripts.length} files, ${objects.length} BPF objects`)
