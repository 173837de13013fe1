/** Runs in the guest, by the vitest that the runner starts there: the runner would otherwise test the host under the guest's name. */

import { readFileSync } from 'node:fs'
import { release } from 'node:os'
import { expect, it } from 'vitest'

it("runs on the guest's kernel, with its own process table", () => {
  expect(release()).toMatch(/^6\.1[2-9]/)
  expect(readFileSync('/proc/cmdline', 'utf8')).toContain('branchline.repo=')
})
