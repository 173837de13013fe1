/**
 * UDP sockets that send by one device, whatever the machine's routing prefers: an uplink takes packets from its own addresses only (RFC 2827), and
 * Node's sockets cannot be told. IP_UNICAST_IF rather than SO_BINDTODEVICE, since packets may come in by another device; a policy rule
 * would cost every look-up of the machine.
 */
import type { parseAddress } from '../../schema/address.ts'
import { checkErrno, closeFd, libc } from '../kernel/native.ts'

const AF_INET = 2
const AF_INET6 = 10
const SOCK_DGRAM_NONBLOCK_CLOEXEC = 2 | 0o4000 | 0o2000000
const IPPROTO_IP = 0
const IPPROTO_IPV6 = 41
const IP_UNICAST_IF = 50
const IPV6_UNICAST_IF = 76
const IPV6_V6ONLY = 26

const socket: (family: number, type: number, protocol: number) => number = libc.func('int socket(int, int, int)')
const bind: (fd: number, address: Uint8Array, length: number) => number = libc.func('int bind(int, const void *, uint)')
const setsockopt: (fd: number, level: number, option: number, value: Uint8Array, length: number) => number = libc.func(
  'int setsockopt(int, int, int, const void *, uint)',
)

/** @returns a bound descriptor, the caller's to close. @throws KernelError EADDRINUSE, EADDRNOTAVAIL ... */
export function openLinkSocket(
  local: NonNullable<ReturnType<typeof parseAddress>>,
  port: number,
  ifindex: number,
): number {
  const object = `UDP port ${port} of device ${ifindex}`
  const v6 = local.family === 6
  const fd = checkErrno(socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM_NONBLOCK_CLOEXEC, 0), 'open', object)
  const set = (level: number, option: number, value: Uint8Array) =>
    checkErrno(setsockopt(fd, level, option, value, value.length), 'configure', object)
  try {
    if (v6) set(IPPROTO_IPV6, IPV6_V6ONLY, hostInt(1))
    const device = Buffer.alloc(4)
    device.writeUInt32BE(ifindex)
    set(v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_UNICAST_IF : IP_UNICAST_IF, device)
    const address = v6 ? sockaddr(28, AF_INET6, port, 8, local.bytes) : sockaddr(16, AF_INET, port, 4, local.bytes)
    checkErrno(bind(fd, address, address.length), 'bind', object)
    return fd
  } catch (error) {
    closeFd(fd)
    throw error
  }
}

/** struct sockaddr_in or sockaddr_in6: of so many bytes, with the address at an offset of its own. */
function sockaddr(size: number, family: number, port: number, offset: number, address: Uint8Array): Buffer {
  const bytes = Buffer.alloc(size)
  bytes.set(hostShort(family))
  bytes.writeUInt16BE(port, 2)
  bytes.set(address, offset)
  return bytes
}

const hostShort = (value: number) => new Uint8Array(Uint16Array.of(value).buffer)
const hostInt = (value: number) => new Uint8Array(Uint32Array.of(value).buffer)
