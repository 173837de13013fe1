/**
 * Requests over one netlink socket. Requests of the same turn of the event loop leave in one system call; at most WINDOW are
 * unanswered, so their answers cannot overflow the socket. The kernel answers in order; dumps go one at a time and are
 * repeated when the kernel says that something changed meanwhile.
 */
import { constants } from 'node:os'
import { viewOf } from '../../../schema/codec.ts'
import { KernelError } from '../error.ts'
import { errnoName } from '../native.ts'
import {
  encodeMessage,
  HEADER_LENGTH,
  type Message,
  NLM_F_ACK,
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  parseAttributes,
  parseMessages,
  readText,
} from './codec.ts'
import { type NetlinkSocket, openNetlink } from './socket.ts'

const WINDOW = 128
const DUMP_ATTEMPTS = 5
const NLMSGERR_ATTR_MSG = 1

export interface NetlinkRequest {
  type: number
  flags?: number
  payload: Uint8Array
  /** For error texts: what is done, and to what. */
  operation: string
  object: string
  /** The errno by which this request's handler means "not there", where it is another than ENOENT: reported as ENOENT. */
  missing?: string
}

interface Pending {
  request: NetlinkRequest
  dump: boolean
  answers: Message[]
  interrupted: boolean
  attempts: number
  resolve: (answers: Message[]) => void
  reject: (error: KernelError) => void
}

export class NetlinkClient {
  readonly #name: string
  readonly #protocol: number
  #socket: NetlinkSocket | undefined
  #sequence = 0
  #queue: Pending[] = []
  #scheduled = false
  #closed = false
  readonly #sent = new Map<number, Pending>()

  /** Opens its socket with the first request, so that a kernel without the protocol fails the request, not the agent. */
  constructor(protocol: number, name: string) {
    this.#protocol = protocol
    this.#name = name
  }

  /** One request; resolves with the messages that came before the acknowledgement (usually none). @throws KernelError */
  request(request: NetlinkRequest): Promise<Message[]> {
    return this.#add(request, false)
  }

  /** All messages of a consistent dump. @throws KernelError; EINTR when it was interrupted five times */
  dump(request: NetlinkRequest): Promise<Message[]> {
    return this.#add(request, true)
  }

  /** Requests under way, and any made later, fail with ECANCELED. */
  close(): void {
    this.#closed = true
    this.#socket?.close()
    this.#socket = undefined
    this.#failAll('ECANCELED', 'closed')
  }

  #add(request: NetlinkRequest, dump: boolean): Promise<Message[]> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ request, dump, answers: [], interrupted: false, attempts: 1, resolve, reject })
      this.#schedule()
    })
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      this.#flush()
    })
  }

  #flush(): void {
    if (this.#closed) {
      this.#failAll('ECANCELED', 'closed')
      return
    }
    const batch: Uint8Array[] = []
    while (this.#sent.size < WINDOW) {
      const next = this.#queue[0]
      // The kernel refuses a second dump while one runs: each waits until everything before it is answered.
      if (!next || (next.dump && this.#sent.size > 0)) break
      this.#queue.shift()
      this.#sequence = (this.#sequence % 0xffffffff) + 1
      this.#sent.set(this.#sequence, next)
      const flags = NLM_F_REQUEST | (next.dump ? NLM_F_DUMP : NLM_F_ACK) | (next.request.flags ?? 0)
      const { type, payload } = next.request
      batch.push(encodeMessage({ type, flags, sequence: this.#sequence, payload }))
      if (next.dump) break
    }
    if (batch.length === 0) return
    try {
      this.#socket ??= this.#open()
      this.#socket.hold(true)
      this.#socket.send(Buffer.concat(batch))
    } catch (error) {
      if (!(error instanceof KernelError)) throw error
      this.#failAll(error.code, error.message)
    }
  }

  #open(): NetlinkSocket {
    return openNetlink({
      protocol: this.#protocol,
      name: this.#name,
      onDatagram: datagram => {
        for (const message of parseMessages(datagram)) this.#receive(message)
      },
      // The window makes this impossible short of a full kernel memory; what was answered is unknown then.
      onLoss: () => this.#failAll('ENOBUFS', 'answers were lost'),
    })
  }

  #receive(message: Message): void {
    const pending = this.#sent.get(message.sequence)
    if (!pending) return
    if (message.flags & NLM_F_DUMP_INTR) pending.interrupted = true
    if (message.type !== NLMSG_ERROR && message.type !== NLMSG_DONE) {
      pending.answers.push(message)
      return
    }
    this.#sent.delete(message.sequence)
    const errno = message.payload.length >= 4 ? -viewOf(message.payload).getInt32(0, true) : 0
    if (errno > 0) pending.reject(failure(pending.request, errno, message))
    else if (!pending.interrupted) pending.resolve(pending.answers)
    else if (pending.attempts === DUMP_ATTEMPTS) pending.reject(failure(pending.request, constants.errno.EINTR))
    else this.#queue.unshift({ ...pending, answers: [], interrupted: false, attempts: pending.attempts + 1 })
    if (this.#queue.length > 0) this.#schedule()
    else if (this.#sent.size === 0) this.#socket?.hold(false)
  }

  #failAll(code: string, detail: string): void {
    const failed = [...this.#sent.values(), ...this.#queue]
    this.#sent.clear()
    this.#queue = []
    this.#socket?.hold(false)
    for (const { request, reject } of failed)
      reject(new KernelError(request.operation, request.object, code, `${this.#name}: ${detail}`))
  }
}

function failure(request: NetlinkRequest, errno: number, message?: Message): KernelError {
  const code = errnoName(errno)
  const detail = message && extack(message)
  if (code !== request.missing) return new KernelError(request.operation, request.object, code, detail)
  return new KernelError(request.operation, request.object, 'ENOENT', `the kernel says ${detail ?? code}`)
}

/** The kernel's words in an error message or at the end of a dump. */
function extack({ type, flags, payload }: Message): string | undefined {
  if (!(flags & NLM_F_ACK_TLVS)) return undefined
  if (type === NLMSG_DONE) return readText(parseAttributes(payload, 4).get(NLMSGERR_ATTR_MSG))
  // struct nlmsgerr: errno, the header of the request, and the request itself unless the answer is capped.
  const requestLength = viewOf(payload).getUint32(4, true)
  const offset = flags & NLM_F_CAPPED ? 4 + HEADER_LENGTH : 4 + requestLength
  return readText(parseAttributes(payload, offset).get(NLMSGERR_ATTR_MSG))
}
