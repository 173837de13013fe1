/** What a committed change may have touched: the notice between the transaction and the publisher, on this replica and the others. */
import { z } from 'zod'

const changeSchema = z.discriminatedUnion('scope', [
  z.object({ scope: z.literal('node'), node: z.uuid() }),
  z.object({ scope: z.literal('enterprise'), enterprise: z.uuid() }),
  z.object({ scope: z.literal('all') }),
  /** The node's connections are to be closed, with the text as the reason. */
  z.object({ scope: z.literal('shut-out'), node: z.uuid(), reason: z.string() }),
])
export type Change = z.infer<typeof changeSchema>

/** A notice that this version does not know (a newer replica sent it) may mean anything: everything is looked at again. */
export function parseChange(payload: string): Change {
  try {
    return changeSchema.parse(JSON.parse(payload))
  } catch {
    return { scope: 'all' }
  }
}
