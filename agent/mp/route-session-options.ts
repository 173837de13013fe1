/** What the owner of a route session says to it and hears from it. */
import type { RouteMessage } from '../../schema/route-messages.ts'
import type { Schedule } from './heartbeat.ts'
import type { RecordFailure } from './record.ts'

export type CloseCode =
  | RecordFailure
  /** The peer does not speak this protocol. */
  | 'bad-preface'
  /** The dialler, or its `switch`, named a session whose keys this side does not have. */
  | 'unknown-session'
  /** A record's content is not a message, or not one that this side takes now. */
  | 'bad-message'
  | 'message-too-long'
  /** Nothing authentic for the whole deadline. */
  | 'silent'
  /** The peer reads slower than this side has to tell. */
  | 'queue-full'
  | 'keys-exhausted'
  /** The stream ended. */
  | 'stream-closed'
  /** The peer said `bye`. */
  | 'bye'
  /** `close` was called here. */
  | 'closed'

export interface RouteSessionEvents {
  /** Every message but pings, `switched` and `bye`; `switch` after the keys were changed. */
  onMessage: (message: RouteMessage) => void
  /** Once, also after `close`. */
  onClose: (reason: string, code: CloseCode) => void
  /** The peer's first record opened: it holds the keys of session `sid`. Comes before the first message. */
  onOpen?: (sid: number) => void
  /** After `send` gave false: everything has gone out. */
  onDrain?: () => void
}

export interface RouteSessionOptions extends RouteSessionEvents {
  /** ms between pings. */
  pingMs?: number
  /** ms without a record after which the session is closed; also for the prefaces. */
  deadlineMs?: number
  /** Bytes of messages that may wait. */
  queueLimit?: number
  /** Timers; simulations give their own. */
  schedule?: Schedule
  random?: (length: number) => Uint8Array
}
