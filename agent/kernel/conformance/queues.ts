import { describe, expect, it } from 'vitest'
import { cable, expectCode, type MachineUnderTest } from '../conformance.ts'
import { KernelError } from '../error.ts'
import { type HtbClass, type QdiscSpec, ROOT } from '../queueing.ts'

const NOBODY = 9999
const MAJOR = 0x24260000

export function queueConformance(machine: MachineUnderTest): void {
  const network = () => machine().kernel.network
  const device = async () => (await cable(machine(), 'wan0', 'net0'))[0].ifindex
  /** Of the kernel's own choice, which is another on each machine, nothing is said. */
  const placed = async () => (await network().qdiscs()).filter(({ handle }) => handle !== 0)
  const htb = (ifindex: number): QdiscSpec => ({
    kind: 'htb',
    ifindex,
    handle: MAJOR,
    parent: ROOT,
    defaultMinor: 0x10,
  })
  const top = (ifindex: number): HtbClass => ({
    ifindex,
    handle: MAJOR | 1,
    parent: MAJOR,
    rate: 1_212_500,
    ceil: 1_212_500,
    burst: 3200,
    priority: 0,
    quantum: 1514,
  })
  const leaf = (ifindex: number): HtbClass => ({
    ...top(ifindex),
    handle: MAJOR | 0x10,
    parent: MAJOR | 1,
    rate: 300_000,
    priority: 2,
  })
  const shown = (each: HtbClass) => {
    const { burst: _, ...rest } = each
    return rest
  }

  describe('queues', () => {
    it('are an HTB and its classes, which take another rate', async () => {
      const ifindex = await device()
      await network().replaceQdisc(htb(ifindex))
      expect(await placed()).toEqual([{ ifindex, kind: 'htb', handle: MAJOR, parent: ROOT }])
      await network().replaceClass(top(ifindex))
      await network().replaceClass(leaf(ifindex))
      const slower = { ...leaf(ifindex), rate: 200_000, ceil: 400_000, priority: 3, quantum: 3000 }
      await network().replaceClass(slower)
      const classes = (await network().classes(ifindex)).toSorted((a, b) => a.handle - b.handle)
      // The kernel says of an inner class that it hangs at the root.
      expect(classes.map(({ parent, priority, quantum, ...rest }) => rest)).toEqual(
        [top(ifindex), slower].map(each => {
          const { parent, priority, quantum, ...rest } = shown(each)
          return rest
        }),
      )
      expect(classes[1]).toEqual(shown(slower))
    })

    it('carry rates above 34 Gb/s', async () => {
      const ifindex = await device()
      await network().replaceQdisc(htb(ifindex))
      await network().replaceClass({ ...top(ifindex), rate: 12_500_000_000, ceil: 12_500_000_000, burst: 12_500_000 })
      expect(await network().classes(ifindex)).toMatchObject([{ rate: 12_500_000_000, ceil: 12_500_000_000 }])
    })

    it.each<QdiscSpec['kind']>(['pfifo', 'fq_codel', 'fq'])(
      'take a %s below a class and at the root, or the kernel does not know it',
      async kind => {
        const ifindex = await device()
        const options = { limit: 100, flowLimit: 50, targetUs: 5000, intervalUs: 100_000, ecn: true, defaultMinor: 0 }
        const spec = (place: Pick<QdiscSpec, 'handle' | 'parent'>) =>
          ({ ifindex, kind, ...options, ...place }) as QdiscSpec
        await network().replaceQdisc(htb(ifindex))
        await network().replaceClass(top(ifindex))
        await network().replaceClass(leaf(ifindex))
        const below = { handle: 0x24270000, parent: MAJOR | 0x10 }
        try {
          await network().replaceQdisc(spec(below))
        } catch (error) {
          expect(kind).not.toBe('pfifo')
          expect(error).toBeInstanceOf(KernelError)
          expect(error).toMatchObject({ code: 'ENOENT' })
          return
        }
        expect(await placed()).toContainEqual({ ifindex, kind, ...below })
        // Once more: it stays, and takes what is new.
        await network().replaceQdisc({ ...spec(below), limit: 10 } as QdiscSpec)
        expect((await placed()).filter(({ handle }) => handle === below.handle)).toHaveLength(1)
        const root = { handle: 0x24280000, parent: ROOT }
        await network().replaceQdisc(spec(root))
        expect(await placed()).toEqual([{ ifindex, kind, ...root }])
        expect(await network().classes(ifindex)).toEqual([])
      },
    )

    it('go, and with them their classes', async () => {
      const ifindex = await device()
      await network().replaceQdisc(htb(ifindex))
      await network().replaceClass(top(ifindex))
      await network().deleteQdisc({ ifindex, parent: ROOT })
      expect(await placed()).toEqual([])
      expect(await network().classes(ifindex)).toEqual([])
      await expectCode(network().deleteQdisc({ ifindex, parent: ROOT }), 'ENOENT')
    })

    it('go with the device', async () => {
      const ifindex = await device()
      await network().replaceQdisc(htb(ifindex))
      await network().deleteLink(ifindex)
      expect(await placed()).toEqual([])
    })

    it('are refused where they cannot be', async () => {
      const ifindex = await device()
      await expectCode(network().replaceQdisc(htb(NOBODY)), 'ENODEV')
      await expectCode(network().replaceClass(top(ifindex)), 'ENOENT')
      await network().replaceQdisc(htb(ifindex))
      await expectCode(network().replaceQdisc(htb(ifindex)), 'EINVAL')
      await expectCode(network().replaceClass({ ...top(ifindex), rate: 0 }), 'EINVAL')
      const pfifo = { kind: 'pfifo', ifindex, handle: 0x24270000, parent: MAJOR | 0x77, limit: 5 } as const
      await expectCode(network().replaceQdisc(pfifo), 'ENOENT')
    })
  })
}
