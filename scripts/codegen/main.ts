/** `npm run codegen`: bpf/abi.h -> schema/abi.gen.ts. */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readBtf } from './btf.ts'
import { emitAbi } from './emit.ts'
import { layoutOf } from './layout.ts'

const root = join(import.meta.dirname, '../..')
execFileSync('make', ['-s', '-C', join(root, 'bpf'), 'out/abi.btf.o'], { stdio: 'inherit' })
writeFileSync(join(root, 'schema/abi.gen.ts'), emitAbi(layoutOf(readBtf(join(root, 'bpf/out/abi.btf.o')))))
