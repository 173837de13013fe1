/** `identity` and `state` of an activated node in its state directory. */
import { join } from 'node:path'
import { z } from 'zod'
import { nameSchema, roleSchema, uuidSchema } from '../../schema/common.ts'
import { type NodeState, nodeStateSchema } from '../../schema/node-state.ts'
import { IntentError } from './error.ts'
import { readSealed, writeSealed } from './sealed-file.ts'

const identitySchema = z.object({
  node: uuidSchema,
  name: nameSchema,
  role: roleSchema,
  /** wss:// URL of the orchestrator. */
  url: z.url({ protocol: /^wss$/ }),
  /** X25519 private key, 32 bytes in base64. */
  staticKey: z.base64(),
  /** PEM: PKCS #8, the node's certificate, the orchestrator's CA. */
  tlsKey: z.string(),
  certificate: z.string(),
  ca: z.string(),
})
export type IdentityFile = z.infer<typeof identitySchema>

export async function writeIdentity(directory: string, identity: IdentityFile): Promise<void> {
  await writeSealed(join(directory, 'identity'), 'identity', identity)
}

export async function writeState(directory: string, state: NodeState): Promise<void> {
  await writeSealed(join(directory, 'state'), 'state', state)
}

/** @throws IntentError in one line naming the file */
export function readNode(directory: string): { identity: IdentityFile; state: NodeState } {
  const identity = readSealed(join(directory, 'identity'), 'identity', identitySchema)
  const file = join(directory, 'state')
  const state = readSealed(file, 'state', nodeStateSchema)
  if (state.node !== identity.node) {
    throw new IntentError(
      'state',
      `${file} belongs to node ${state.name}, the identity beside it to ${identity.name}: activate this node again with a new key (branchline agent activate)`,
    )
  }
  return { identity, state }
}
