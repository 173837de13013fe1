import { describe, expect, it } from 'vitest'
import { innerSizes, wideEnough } from './path-sizes.ts'

describe('the paths of a tunnel', () => {
  const path = (mtu: number, carries?: number) => ({ mtu, carries })

  it.each([
    ['all that carry what IPv6 needs', [path(1500), path(1500, 1280)], [0, 1]],
    ['not a narrow one beside a wider one', [path(1500, 1279), path(1500)], [1]],
    ['not one of no use', [path(1500, 0), path(1500, 600)], [1]],
    ['narrow ones where there are no others', [path(1000), path(1500, 600)], [0, 1]],
    ['one of no use where there is no other', [path(1500, 0)], [0]],
  ])('%s', (_name, paths, chosen) => {
    expect(wideEnough(paths)).toEqual(chosen.map(index => paths[index]))
  })
})

describe('inner sizes', () => {
  it('are those of the narrowest path, headers of its family included', () => {
    expect(
      innerSizes(
        [
          { mtu: 1500, family: 4 },
          { mtu: 1480, family: 6 },
        ],
        9000,
      ),
    ).toEqual({ clear: 1392, secure: 1338 })
  })

  it('are no more than the devices take', () => {
    expect(innerSizes([{ mtu: 9000, family: 4 }], 1412)).toEqual({ clear: 1412, secure: 1358 })
    expect(innerSizes([], 1412)).toEqual({ clear: 1412, secure: 1358 })
  })

  it('of a path of no use are the least that one must carry', () => {
    expect(innerSizes([{ mtu: 0, family: 4 }], 1412)).toEqual({ clear: 508, secure: 454 })
  })
})
