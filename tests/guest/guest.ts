/** The guest of the guest tier: the runner's, which all files share, or one of this file's own when vitest is started by hand. */

import { findGuest, type Guest, startGuest } from '../../scripts/guest/guest.ts'

export type TestGuest = { readonly guest: Guest; readonly release: () => Promise<void> }

/** The runner (scripts/test.ts) names its guest in BRANCHLINE_TEST_GUEST. Throws GuestError when none can be had. */
export async function acquireGuest(): Promise<TestGuest> {
  const name = process.env.BRANCHLINE_TEST_GUEST
  if (name === undefined) {
    const guest = await startGuest()
    return { guest, release: () => guest.stop() }
  }
  const guest = findGuest(name)
  if (guest === null) throw new Error(`the test runner's guest ${name} is gone`)
  return { guest, release: async () => {} }
}
