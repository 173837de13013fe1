/** The suite on the fake; tests/net/kernel-conformance.test.ts runs it on Linux. */
import { kernelConformance, type Machine } from './conformance.ts'
import { FakeKernel } from './fake.ts'

for (const esp of [true, false]) {
  kernelConformance(`fake kernel ${esp ? 'with' : 'without'} ESP`, esp, (): Machine => {
    const kernel = new FakeKernel({ esp })
    return { kernel, bpffs: '/sys/fs/bpf/branchline', restart: () => kernel.close(), end: () => kernel.close() }
  })
}
