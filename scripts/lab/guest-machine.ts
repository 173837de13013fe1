/** The machine that is the QEMU guest (scripts/guest). All of the lab in it goes with it. */
import { findGuest, type Guest, startGuest } from '../guest/guest.ts'
import { LabError } from './error.ts'
import type { Machine } from './machine.ts'

const MEMORY_MB = 3072

export function guestName(id: string): string {
  return `lab-${id}`
}

/** @param detach the guest outlives this process. @throws GuestError */
export async function startGuestMachine(id: string, detach: boolean, signal: AbortSignal): Promise<Machine> {
  const machine = guestMachine(id, await startGuest({ name: guestName(id), memoryMb: MEMORY_MB, detach, signal }))
  await machine.exec(['mkdir', '-p', machine.local])
  return machine
}

/** @throws LabError when it does not run */
export function findGuestMachine(id: string): Machine {
  const guest = findGuest(guestName(id))
  if (!guest) throw new LabError('not-running', `the guest of lab ${id} is gone; end the lab: npm run lab -- down`)
  return guestMachine(id, guest)
}

function guestMachine(id: string, guest: Guest): Machine {
  return {
    kind: 'guest',
    kernel: guest.kernel,
    shared: guest.share,
    local: `/run/branchline-lab/${id}`,
    hostAddress: '10.0.2.2',
    exec: (argv, options) => guest.exec(argv, options),
    stop: () => guest.stop(),
  }
}
