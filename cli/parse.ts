/** Option values that several commands share. A wrong one is an InvalidArgumentError: commander names the option. */
import { isIPv6 } from 'node:net'
import { InvalidArgumentError } from 'commander'

export interface HostPort {
  host: string
  port: number
}

/** `192.0.2.1`, `192.0.2.1:2426`, `[2001:db8::1]:2426`, `2001:db8::1`, `name:2428` */
export function parseHostPort(text: string, defaultPort: number): HostPort {
  const bracketed = /^\[([^\]]+)\](?::(\d+))?$/.exec(text)
  const plain = /^([^:]+)(?::(\d+))?$/.exec(text)
  const [, host, digits] = bracketed ?? (isIPv6(text) ? ['', text] : plain) ?? []
  const port = digits === undefined ? defaultPort : Number(digits)
  if (host === undefined || port > 65535) {
    throw new InvalidArgumentError(`${text} must be an address with a port, like 192.0.2.1:2426 or [2001:db8::1]:2426`)
  }
  return { host, port }
}

/** `50.11,8.68`: degrees north and east. */
export function parseLocation(text: string): { latitude: number; longitude: number } {
  const [, north, east] = /^(-?[\d.]+),\s*(-?[\d.]+)$/.exec(text) ?? []
  const [latitude, longitude] = [Number(north), Number(east)]
  if (Math.abs(latitude) <= 90 && Math.abs(longitude) <= 180) return { latitude, longitude }
  throw new InvalidArgumentError('must be latitude and longitude in degrees, like 50.11,8.68 or -33.87,151.21')
}

export function positiveInteger(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value <= 0) throw new InvalidArgumentError('must be a whole number above 0')
  return value
}

/** For repeatable options: `--subnet A --subnet B`. */
export function collect<T>(parse: (text: string) => T): (text: string, previous: T[] | undefined) => T[] {
  return (text, previous) => [...(previous ?? []), parse(text)]
}

/** `30 min`, `12h`, `7d` or plain seconds -> seconds. */
export function duration(text: string): number {
  const [, digits = '', unit = 's'] = /^(\d+)\s*(s|min|h|d)?$/.exec(text) ?? []
  const size = { s: 1, min: 60, h: 3600, d: 86_400 }[unit]
  if (digits === '' || size === undefined) throw new InvalidArgumentError('must be a time like 3600, 30min, 12h or 7d')
  return Number(digits) * size
}
