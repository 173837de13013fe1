/**
 * Sockets that Node cannot make by itself: a listener for connections to other machines (tproxy(4), Documentation/networking/tproxy.rst), and
 * connections that come from another machine's address. Both are IPv6 sockets that take IPv4 too, as ::ffff:a.b.c.d.
 */
import { Socket } from 'node:net'
import { checkErrno, closeFd, lastErrno, libc } from '../../../agent/kernel/native.ts'
import { formatAddress, parseAddress } from '../../../schema/address.ts'

const AF_INET6 = 10
const SOCK_STREAM = 1
const SOCK_NONBLOCK = 0o4000
const SOCK_CLOEXEC = 0o2000000
const SOL_SOCKET = 1
const SO_REUSEADDR = 2
const SO_MARK = 36
const SOL_IPV6 = 41
const IPV6_TRANSPARENT = 75
const EINPROGRESS = 115
const BACKLOG = 4096

const socket: (family: number, type: number, protocol: number) => number = libc.func('int socket(int, int, int)')
const setsockopt: (fd: number, level: number, option: number, value: Int32Array, length: number) => number = libc.func(
  'int setsockopt(int, int, int, const void *, uint32_t)',
)
const bind: (fd: number, address: Uint8Array, length: number) => number = libc.func(
  'int bind(int, const void *, uint32_t)',
)
const connect: (fd: number, address: Uint8Array, length: number) => number = libc.func(
  'int connect(int, const void *, uint32_t)',
)
const listen: (fd: number, backlog: number) => number = libc.func('int listen(int, int)')

export interface End {
  readonly address: string
  readonly port: number
}

/** @returns a descriptor for Server.listen. @throws KernelError EPERM without CAP_NET_ADMIN */
export function listenTransparent(port: number): number {
  const fd = transparentSocket()
  return orClose(fd, () => {
    set(fd, SOL_SOCKET, SO_REUSEADDR, 1)
    checkErrno(bind(fd, sockaddr({ address: '::', port }), 28), 'bind', `port ${port}`)
    checkErrno(listen(fd, BACKLOG), 'listen', `port ${port}`)
    return fd
  })
}

/** A connection that the other end takes for one of `from`; what is written meanwhile waits. Failure shows as the socket's `error`. */
export function connectFrom(from: string, to: End, mark: number): Socket {
  const fd = transparentSocket()
  return orClose(fd, () => {
    set(fd, SOL_SOCKET, SO_MARK, mark)
    checkErrno(bind(fd, sockaddr({ address: from, port: 0 }), 28), 'bind', from)
    if (connect(fd, sockaddr(to), 28) < 0 && lastErrno() !== EINPROGRESS) checkErrno(-1, 'connect', to.address)
    return new Socket({ fd, readable: true, writable: true })
  })
}

function transparentSocket(): number {
  const fd = checkErrno(socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'create', 'socket')
  return orClose(fd, () => {
    set(fd, SOL_IPV6, IPV6_TRANSPARENT, 1)
    return fd
  })
}

function set(fd: number, level: number, option: number, value: number): void {
  checkErrno(setsockopt(fd, level, option, Int32Array.of(value), 4), 'set', `socket option ${level}/${option}`)
}

function orClose<T>(fd: number, make: () => T): T {
  try {
    return make()
  } catch (error) {
    closeFd(fd)
    throw error
  }
}

/** struct sockaddr_in6: family in host order, port, flow label, address, scope. */
function sockaddr({ address, port }: End): Uint8Array {
  const bytes = new Uint8Array(28)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, AF_INET6, true)
  view.setUint16(2, port)
  const given = parseAddress(address)
  if (!given) throw new TypeError(`not an address: ${address}`)
  if (given.family === 4) bytes.set([0xff, 0xff], 18)
  bytes.set(given.bytes, given.family === 4 ? 20 : 8)
  return bytes
}

/** As Node tells it: `::ffff:10.1.0.10` -> `10.1.0.10` */
export function plainAddress(address: string | undefined): string {
  const plain = parseAddress(address?.replace(/^::ffff:(?=\d+\.)/, '') ?? '')
  if (!plain) throw new TypeError(`not an address: ${address}`)
  return formatAddress(plain.bytes)
}
