/** Runs in the guest, by the vitest that the runner starts there: the runner would otherwise test the host under the guest's name. */

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { REPO } from '../../../scripts/guest/rundir.ts'

it("runs on the guest's kernel, with its own process table", () => {
  expect(release()).toMatch(/^6\.1[2-9]/)
  expect(readFileSync('/proc/cmdline', 'utf8')).toContain('branchline.repo=')
})

it('takes every program, those of ipsec0 too', () => {
  const { stdout, stderr, status } = spawnSync(process.execPath, [join(REPO, 'scripts/bpf-load.ts'), '--esp'], {
    encoding: 'utf8',
  })
  console.log(stdout)
  expect(stderr).toBe('')
  expect(status).toBe(0)
  for (const hook of ['lan', 'wan', 'mp-egress', 'mp-ingress', 'ipsec-egress', 'ipsec-ingress'])
    expect(stdout).toMatch(new RegExp(`^${hook} +[0-9]+ instructions verified`, 'm'))
})
