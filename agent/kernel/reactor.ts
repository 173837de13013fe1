/**
 * Readiness of the kernel's descriptors (netlink sockets, ring buffers) on Node's own event loop: koffi hands them to libuv's epoll, so no
 * thread blocks in epoll_wait and nothing has to be woken. A descriptor keeps the process alive only while `hold` says so.
 */
import koffi from 'koffi'

export interface Registration {
  /** Does waiting for this descriptor keep the process alive? A new registration does not. */
  hold(held: boolean): void
  /** Ends the registration; must come before the descriptor is closed. */
  close(): void
}

/**
 * Calls `onReadable` while the descriptor has something to read or an error to fetch (level-triggered): the callback reads it empty.
 */
export function watchReadable(fd: number, onReadable: () => void): Registration {
  // koffi's types leave out the status, which comes before the events (koffi 3.3, uv.cc).
  const onPoll = (status: unknown) => {
    // On EPOLLERR, which ENOBUFS of a netlink socket is, libuv stops polling: it takes such a descriptor for a bad one.
    if (status !== 0) handle.start({ readable: true }, onPoll)
    try {
      onReadable()
    } catch (error) {
      // Left to koffi it would stay pending in the engine, and no callback would run until another event of Node's brought it out.
      setImmediate(() => {
        throw error
      })
    }
  }
  const handle = koffi.node.poll(fd, { readable: true }, onPoll)
  handle.unref()
  let open = true
  return {
    // A closed handle is a NULL pointer to koffi: nothing may be asked of it.
    hold: held => {
      if (open) held ? handle.ref() : handle.unref()
    },
    close: () => {
      if (open) handle.close()
      open = false
    },
  }
}
