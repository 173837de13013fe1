/**
 * @peculiar/x509 brings tsyringe, which will not load without the metadata part of the Reflect API (the TC39 proposal that `reflect-metadata`
 * polyfills). It only keeps class metadata by key: this is that much of it. Import it before the library.
 */
const metadata = new WeakMap<object, Map<unknown, unknown>>()

function own(key: unknown, target: object): unknown {
  return metadata.get(target)?.get(key)
}

const polyfill = {
  defineMetadata(key: unknown, value: unknown, target: object): void {
    const entries = metadata.get(target) ?? new Map<unknown, unknown>()
    metadata.set(target, entries.set(key, value))
  },
  getOwnMetadata(key: unknown, target: object): unknown {
    return own(key, target)
  },
  /** Looks along the prototype chain, as the proposal says. */
  getMetadata(key: unknown, target: object): unknown {
    for (let at: object | null = target; at; at = Object.getPrototypeOf(at)) {
      if (metadata.get(at)?.has(key)) return own(key, at)
    }
    return undefined
  },
}

for (const [name, value] of Object.entries(polyfill)) {
  if (!(name in Reflect)) Object.defineProperty(Reflect, name, { value, configurable: true, writable: true })
}
