/** One project per tier that vitest runs; scripts/testing/tiers.ts says which tiers there are and in what order. */

import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { defineConfig } from 'vitest/config'

/** Files that share machine state (namespaces, bpffs, the one guest) run one after the other. */
const serial = { fileParallelism: false, testTimeout: 60_000, hookTimeout: 180_000 }

/**
 * Node strips types by a WebAssembly module, in each worker thread anew. On QEMU 7.2's emulated CPUs V8's optimised code of it jumps into pages
 * that are still empty, in every second process that starts several workers; the baseline compiler's does not.
 */
const emulated = { execArgv: ['--liftoff-only'] }

export default defineConfig({
  // The guest sees the repository read-only.
  cacheDir: join(tmpdir(), 'branchline-vitest'),
  test: {
    projects: [
      { extends: true, test: { name: 'unit', include: ['{agent,bpf,cli,orchestrator,schema,scripts}/**/*.test.ts'] } },
      { extends: true, test: { name: 'packet', include: ['tests/packet/**/*.test.ts'], ...serial } },
      { extends: true, test: { name: 'bench', include: ['tests/bench/**/*.test.ts'], ...serial } },
      { extends: true, test: { name: 'sim', include: ['tests/sim/**/*.test.ts'], testTimeout: 120_000 } },
      { extends: true, test: { name: 'regression', include: ['tests/regression/**/*.test.ts'] } },
      { extends: true, test: { name: 'orchestrator', include: ['tests/orchestrator/**/*.test.ts'], ...serial } },
      { extends: true, test: { name: 'net', include: ['tests/net/**/*.test.ts'], ...serial } },
      { extends: true, test: { name: 'guest', include: ['tests/guest/*.test.ts'], ...serial } },
      {
        extends: true,
        test: { name: 'guest-inside', include: ['tests/guest/inside/**/*.test.ts'], ...serial, ...emulated },
      },
      { extends: true, test: { name: 'lab', include: ['tests/lab/**/*.test.ts'], ...serial, testTimeout: 300_000 } },
    ],
  },
})
