/** Sockets as the agent needs them, so that a simulation can stand in for the network. `linuxNet` is the real one. */
import { createSocket, type Socket as DatagramHandle } from 'node:dgram'
import { connect, createServer, type Socket } from 'node:net'
import { parseAddress } from '../../schema/address.ts'
import { openLinkSocket } from './link-socket.ts'

export interface Endpoint {
  address: string
  port: number
}

/** @property ifindex device to send by, whatever routing prefers; absent: as routing says */
export interface LocalEndpoint extends Endpoint {
  ifindex?: number
}

export interface DatagramSocket {
  readonly local: Endpoint
  /** Fire and forget, as UDP is. */
  send(packet: Uint8Array, to: Endpoint): void
  close(): void
}

/** A TCP connection in the shape that the route session needs. */
export interface ByteStream {
  readonly remote: Endpoint
  /** False: wait for `onDrain` before more. */
  write(bytes: Uint8Array): boolean
  onData(handler: (bytes: Uint8Array) => void): void
  onDrain(handler: () => void): void
  /** Called once; `reason` when it was not an orderly end. */
  onClose(handler: (reason: string | undefined) => void): void
  close(): void
}

export interface Listener {
  close(): void
}

export interface NetPort {
  /** @throws NetError with code EADDRINUSE, EADDRNOTAVAIL ... */
  datagram(local: LocalEndpoint, onPacket: (packet: Uint8Array, from: Endpoint) => void): Promise<DatagramSocket>
  listen(local: Endpoint, onStream: (stream: ByteStream) => void): Promise<Listener>
  /** @param deadlineMs gives up then */
  dial(localAddress: string, remote: Endpoint, deadlineMs: number): Promise<ByteStream>
}

export class NetError extends Error {
  override readonly name = 'NetError'
  readonly code: string

  constructor(what: string, cause: Error) {
    const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : 'EIO'
    super(
      `${what}: ${code === 'EADDRINUSE' ? 'port taken; stop the other program or change the port' : cause.message}`,
      { cause },
    )
    this.code = code
  }
}

export const linuxNet: NetPort = {
  datagram(local, onPacket) {
    const family = parseAddress(local.address)?.family === 6 ? 'udp6' : 'udp4'
    const socket = createSocket({ type: family, ipv6Only: family === 'udp6' })
    return new Promise((resolve, reject) => {
      const refuse = (error: Error) => {
        socket.close()
        reject(new NetError(`UDP ${local.address} port ${local.port}`, error))
      }
      socket.once('error', refuse)
      bindTo(socket, local, refuse, () => {
        socket.off('error', refuse)
        // ICMP errors of unconnected sockets do not surface; what does (ENETUNREACH on send) is a lost packet.
        socket.on('error', () => {})
        socket.on('message', (packet, from) => onPacket(packet, { address: from.address, port: from.port }))
        resolve({
          local: { address: local.address, port: socket.address().port },
          send: (packet, to) => socket.send(packet, to.port, to.address, () => {}),
          close: () => socket.close(),
        })
      })
    })
  },

  listen(local, onStream) {
    const server = createServer({ noDelay: true }, socket => onStream(byteStream(socket)))
    return new Promise((resolve, reject) => {
      const refuse = (error: Error) => reject(new NetError(`TCP ${local.address} port ${local.port}`, error))
      server.once('error', refuse)
      server.listen({ host: local.address, port: local.port }, () => {
        server.off('error', refuse)
        server.on('error', () => {})
        resolve({ close: () => void server.close() })
      })
    })
  },

  dial(localAddress, remote, deadlineMs) {
    const socket = connect({ host: remote.address, port: remote.port, localAddress, noDelay: true })
    return new Promise((resolve, reject) => {
      const what = `TCP ${remote.address} port ${remote.port}`
      const refuse = (error: Error) => {
        clearTimeout(timer)
        socket.destroy()
        reject(new NetError(what, error))
      }
      const timer = setTimeout(() => refuse(new Error(`no answer within ${deadlineMs} ms`)), deadlineMs)
      socket.once('error', refuse)
      socket.once('connect', () => {
        clearTimeout(timer)
        socket.off('error', refuse)
        resolve(byteStream(socket))
      })
    })
  },
}

function bindTo(socket: DatagramHandle, local: LocalEndpoint, refuse: (error: Error) => void, bound: () => void): void {
  const { address, port, ifindex } = local
  const parsed = parseAddress(address)
  if (ifindex === undefined || !parsed) {
    socket.bind({ address, port, exclusive: true }, bound)
    return
  }
  try {
    socket.bind({ fd: openLinkSocket(parsed, port, ifindex), exclusive: true }, bound)
  } catch (error) {
    refuse(error instanceof Error ? error : new Error(String(error)))
  }
}

function byteStream(socket: Socket): ByteStream {
  let failure: string | undefined
  socket.on('error', error => {
    failure = error.message
  })
  return {
    remote: { address: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 },
    write: bytes => socket.write(bytes),
    onData: handler => void socket.on('data', handler),
    onDrain: handler => void socket.on('drain', handler),
    onClose: handler => void socket.once('close', () => handler(failure)),
    close: () => socket.destroySoon(),
  }
}
