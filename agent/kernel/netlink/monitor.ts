/** Changes of links, addresses, routes and neighbours as the kernel announces them. */
import { viewOf } from '../../../schema/codec.ts'
import type { NetworkChange } from '../port.ts'
import { parseAddressMessage, RTM_DELADDR, RTM_NEWADDR } from './address.ts'
import { type Message, parseMessages } from './codec.ts'
import { RTM_DELLINK, RTM_NEWLINK } from './link.ts'
import { RTM_DELNEIGH, RTM_NEWNEIGH } from './neighbour.ts'
import { parseRoutes, RTM_DELROUTE, RTM_NEWROUTE } from './route.ts'
import { type NetlinkSocket, openNetlink } from './socket.ts'

const NETLINK_ROUTE = 0
/** RTNLGRP_: LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE. */
const GROUPS = [1, 3, 5, 7, 9, 11]
/** Room for tens of thousands of route notifications before the listener reads. */
const RECEIVE_BUFFER = 8 << 20

type Listener = (change: NetworkChange) => void

/** One socket for all listeners, open while there is one. Does not keep the process alive. */
export class Monitor {
  readonly #listeners = new Set<Listener>()
  #socket: NetlinkSocket | undefined

  /** @returns a function that ends the subscription. @throws KernelError */
  watch(listener: Listener): () => void {
    this.#socket ??= openNetlink({
      protocol: NETLINK_ROUTE,
      name: 'rtnetlink notifications',
      groups: GROUPS,
      receiveBuffer: RECEIVE_BUFFER,
      onDatagram: datagram => {
        for (const message of parseMessages(datagram)) for (const change of changesOf(message)) this.#notify(change)
      },
      onLoss: () => this.#notify({ what: 'overflow' }),
    })
    // A wrapper of its own, so that one function may be subscribed twice.
    const entry: Listener = change => listener(change)
    this.#listeners.add(entry)
    return () => {
      this.#listeners.delete(entry)
      if (this.#listeners.size === 0) this.close()
    }
  }

  close(): void {
    this.#listeners.clear()
    this.#socket?.close()
    this.#socket = undefined
  }

  #notify(change: NetworkChange): void {
    for (const listener of this.#listeners) listener(change)
  }
}

/** What a notification means to a listener; nothing for what the port does not show (local and cached routes, bridge entries). */
export function changesOf(message: Message): NetworkChange[] {
  switch (message.type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      return [{ what: 'link', ifindex: ifindexAt4(message) }]
    case RTM_NEWADDR:
    case RTM_DELADDR: {
      const address = parseAddressMessage(message)
      return address ? [{ what: 'address', ifindex: address.ifindex }] : []
    }
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      return parseRoutes(message).map(({ ifindex }) => ({ what: 'route', ifindex }))
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
      return [{ what: 'neighbour', ifindex: ifindexAt4(message) }]
    default:
      return []
  }
}

/** ifinfomsg and ndmsg both have it there. */
function ifindexAt4({ payload }: Message): number {
  return viewOf(payload).getInt32(4, true)
}
