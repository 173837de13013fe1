/** Array maps whose entries say whose they are, as maps by that name: bpf/path/session.h is the other end of the agreement. */
import {
  ABI_MAX_PATHS,
  ABI_MAX_PORTS,
  ABI_MP_PATHS,
  ABI_PORT_PROBES,
  type Bundle,
  bundleCodec,
  type PathConf,
  type PathState,
  type Peer,
  type Port,
  pathConfCodec,
  pathStateCodec,
  peerCodec,
  portCodec,
  type Session,
  sessionCodec,
} from '../../schema/abi.gen.ts'
import { zero } from '../../schema/codec.ts'
import { KernelError } from './error.ts'
import type { KernelMap } from './port.ts'

interface Naming<V> {
  /** Where an entry of this name may be, nearest first. */
  places: (name: number) => number[]
  /** Whose the entry at `place` is; 0: nobody's. */
  nameOf: (value: V, place: number) => number
  /** The value under this name, as it is written. */
  named: (value: V, name: number) => V
  empty: V
}

/** Place of a session id, or of a path handle: HANDLE_PLACE in bpf/path/session.h. */
export function placeOf(handle: number): number {
  return ((handle >>> 4) & (ABI_MAX_PATHS - 1)) + (handle & (ABI_MP_PATHS - 1))
}

/** Names are never 0. A name without a free place is E2BIG. */
class NamedMap<V> implements KernelMap<number, V> {
  readonly #array: KernelMap<number, V>
  readonly #naming: Naming<V>

  constructor(array: KernelMap<number, V>, naming: Naming<V>) {
    this.#array = array
    this.#naming = naming
  }

  get name(): string {
    return this.#array.name
  }

  get(name: number): V | undefined {
    return this.#find(name)?.value
  }

  set(name: number, value: V): void {
    this.setMany([[name, value]])
  }

  delete(name: number): boolean {
    const found = this.#find(name)
    if (found) this.#array.set(found.place, this.#naming.empty)
    return found !== undefined
  }

  entries(): [number, V][] {
    return this.#array.entries().flatMap(([place, value]): [number, V][] => {
      const name = this.#naming.nameOf(value, place)
      return name === 0 ? [] : [[name, value]]
    })
  }

  /** Of entries that find no place, the first is named in the error; the others are written. */
  setMany(entries: readonly (readonly [number, V])[]): void {
    const writes = new Map<number, V>()
    let homeless: number | undefined
    for (const [name, value] of new Map(entries)) {
      const place = this.#find(name)?.place ?? this.#find(0, name, writes)?.place
      if (place === undefined) homeless ??= name
      else writes.set(place, this.#naming.named(value, name))
    }
    this.#array.setMany([...writes])
    if (homeless === undefined) return
    const places = this.#naming.places(homeless)
    throw new KernelError('write', `map ${this.name}`, 'E2BIG', `no free place for ${homeless} at ${places}`)
  }

  deleteMany(names: readonly number[]): void {
    const places = names.flatMap(name => this.#find(name)?.place ?? [])
    this.#array.setMany(places.map(place => [place, this.#naming.empty]))
  }

  /** The entry of this name among the places of `home`, but for those in `except`; with name 0 a free one. */
  #find(name: number, home = name, except?: ReadonlyMap<number, unknown>): { place: number; value: V } | undefined {
    for (const place of this.#naming.places(home)) {
      const value = except?.has(place) ? undefined : this.#array.get(place)
      if (value !== undefined && this.#naming.nameOf(value, place) === name) return { place, value }
    }
    return undefined
  }
}

export function sessionsById(array: KernelMap<number, Session>): KernelMap<number, Session> {
  return new NamedMap(array, {
    places: sid => [placeOf(sid)],
    nameOf: ({ sid }) => sid,
    named: (value, sid) => ({ ...value, sid }),
    empty: zero(sessionCodec),
  })
}

export function pathConfByHandle(array: KernelMap<number, PathConf>): KernelMap<number, PathConf> {
  return pathsByHandle(array, zero(pathConfCodec))
}

export function pathStateByHandle(array: KernelMap<number, PathState>): KernelMap<number, PathState> {
  return pathsByHandle(array, zero(pathStateCodec))
}

export function bundlesBySession(array: KernelMap<number, Bundle>): KernelMap<number, Bundle> {
  return new NamedMap(array, {
    places: sid => [placeOf(sid) >>> 1],
    nameOf: ({ sid }) => sid,
    named: (value, sid) => ({ ...value, sid }),
    empty: zero(bundleCodec),
  })
}

function pathsByHandle<V extends { handle: number }>(array: KernelMap<number, V>, empty: V): KernelMap<number, V> {
  return new NamedMap(array, {
    places: handle => [placeOf(handle)],
    nameOf: ({ handle }) => handle,
    named: (value, handle) => ({ ...value, handle }),
    empty,
  })
}

export function peersByIndex(array: KernelMap<number, Peer>): KernelMap<number, Peer> {
  return new NamedMap(array, {
    places: index => [index],
    nameOf: ({ sid }, index) => (sid === 0 ? 0 : index),
    named: value => value,
    empty: zero(peerCodec),
  })
}

export function portsByIfindex(array: KernelMap<number, Port>): KernelMap<number, Port> {
  return new NamedMap(array, {
    places: ifindex => Array.from({ length: ABI_PORT_PROBES }, (_, probe) => (ifindex & (ABI_MAX_PORTS - 1)) + probe),
    nameOf: ({ ifindex }) => ifindex,
    named: (value, ifindex) => ({ ...value, ifindex }),
    empty: zero(portCodec),
  })
}
