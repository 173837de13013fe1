/** What the `branchline` command needs to be an admin: one file, so that it can be handed over (mode 0600, it holds a private key). */
import { z } from 'zod'

export const adminFileSchema = z.object({
  url: z.url({ protocol: /^wss$/ }),
  name: z.string(),
  /** PEM. */
  ca: z.string(),
  certificate: z.string(),
  key: z.string(),
})
export type AdminFile = z.infer<typeof adminFileSchema>
