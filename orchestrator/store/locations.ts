/** Where nodes are: the distance between an edge and a gateway is part of the edge's choice. */
import { eq } from 'drizzle-orm'
import type { Location } from '../../schema/common.ts'
import { findNode } from './nodes.ts'
import { bumpEdges, bumpNode } from './revision.ts'
import { nodes } from './schema.ts'
import type { Work } from './store.ts'

export function locationOf(row: { latitude: number | null; longitude: number | null }): Location | null {
  const { latitude, longitude } = row
  return latitude === null || longitude === null ? null : { latitude, longitude }
}

/** @param location null: not known any more */
export async function setLocation(work: Work, name: string, location: Location | null): Promise<void> {
  const node = await findNode(work.db, name)
  const { latitude, longitude } = location ?? { latitude: null, longitude: null }
  await work.db.update(nodes).set({ latitude, longitude }).where(eq(nodes.id, node.id))
  await work.record({
    action: 'node.location',
    object: `node:${name}`,
    message: location ? `${name} is at ${latitude}, ${longitude}` : `nobody knows where ${name} is`,
  })
  if (node.role === 'gateway') await bumpEdges(work)
  else await bumpNode(work, node.id)
}
