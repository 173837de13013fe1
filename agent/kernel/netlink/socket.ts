/** Non-blocking netlink sockets: requests in a bounded window, multicast notifications with overflow. */
import { constants } from 'node:os'
import { viewOf } from '../../../schema/codec.ts'
import { KernelError } from '../error.ts'
import { checkErrno, closeFd, errnoName, lastErrno, libc } from '../native.ts'
import { watchReadable } from '../reactor.ts'

const AF_NETLINK = 16
const SOCK_RAW_NONBLOCK_CLOEXEC = 3 | 0o4000 | 0o2000000
const SOL_SOCKET = 1
const SO_RCVBUFFORCE = 33
const SOL_NETLINK = 270
const NETLINK_ADD_MEMBERSHIP = 1
const NETLINK_CAP_ACK = 10
const NETLINK_EXT_ACK = 11
const NETLINK_GET_STRICT_CHK = 12
const MSG_TRUNC = 0x20
/** A datagram of a dump is at most this long (net/netlink/af_netlink.c: netlink_recvmsg). */
const RECEIVE_BUFFER = 65536

const socket: (family: number, type: number, protocol: number) => number = libc.func('int socket(int, int, int)')
const bind: (fd: number, address: Uint8Array, length: number) => number = libc.func('int bind(int, const void *, uint)')
const setsockopt: (fd: number, level: number, option: number, value: Uint8Array, length: number) => number = libc.func(
  'int setsockopt(int, int, int, const void *, uint)',
)
const sendCall: (fd: number, data: Uint8Array, length: number, flags: number) => number = libc.func(
  'long send(int, const void *, size_t, int)',
)
const recvCall: (fd: number, data: Uint8Array, length: number, flags: number) => number = libc.func(
  'long recv(int, void *, size_t, int)',
)

export interface NetlinkSocket {
  send(datagram: Uint8Array): void
  /** Should answers that are still to come keep the process alive? */
  hold(held: boolean): void
  close(): void
}

export interface NetlinkOptions {
  /** NETLINK_* protocol: 0 route, 6 xfrm, 16 generic. */
  protocol: number
  /** For error texts. */
  name: string
  /** Multicast groups (RTNLGRP_*). */
  groups?: readonly number[]
  /** Bytes; above rmem_max, which needs CAP_NET_ADMIN. Default: the kernel's. */
  receiveBuffer?: number
  onDatagram: (datagram: Uint8Array) => void
  /** The kernel dropped messages for want of buffer space, or one did not fit. */
  onLoss: () => void
}

/** @throws KernelError EPROTONOSUPPORT when the kernel lacks the protocol */
export function openNetlink(options: NetlinkOptions): NetlinkSocket {
  const { name } = options
  const fd = checkErrno(socket(AF_NETLINK, SOCK_RAW_NONBLOCK_CLOEXEC, options.protocol), 'open', name)
  try {
    const set = (level: number, option: number, value: number) => {
      const bytes = new Uint8Array(4)
      viewOf(bytes).setInt32(0, value, true)
      checkErrno(setsockopt(fd, level, option, bytes, 4), 'configure', name)
    }
    set(SOL_NETLINK, NETLINK_EXT_ACK, 1)
    set(SOL_NETLINK, NETLINK_CAP_ACK, 1)
    set(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
    if (options.receiveBuffer !== undefined) set(SOL_SOCKET, SO_RCVBUFFORCE, options.receiveBuffer)
    const address = new Uint8Array(12) // struct sockaddr_nl; port 0: the kernel chooses
    viewOf(address).setUint16(0, AF_NETLINK, true)
    checkErrno(bind(fd, address, address.length), 'bind', name)
    for (const group of options.groups ?? []) set(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
  } catch (error) {
    closeFd(fd)
    throw error
  }
  const buffer = new Uint8Array(RECEIVE_BUFFER)
  let open = true
  const registration = watchReadable(fd, () => {
    // A handler may close the socket between two datagrams.
    while (open && receive(fd, buffer, options));
  })
  return {
    send: datagram => {
      checkErrno(sendCall(fd, datagram, datagram.length, 0), 'send to', name)
    },
    hold: registration.hold,
    close: () => {
      if (!open) return
      open = false
      registration.close()
      closeFd(fd)
    },
  }
}

/** @returns false when nothing is left to read */
function receive(fd: number, buffer: Uint8Array, { name, onDatagram, onLoss }: NetlinkOptions): boolean {
  const length = recvCall(fd, buffer, buffer.length, MSG_TRUNC)
  if (length < 0) {
    const errno = lastErrno()
    if (errno === constants.errno.EAGAIN) return false
    if (errno === constants.errno.EINTR) return true
    if (errno !== constants.errno.ENOBUFS) throw new KernelError('receive from', name, errnoName(errno))
    onLoss()
    return true
  }
  if (length > buffer.length) onLoss()
  else onDatagram(buffer.slice(0, length))
  return true
}
