/** Planning: (desired, observed) -> ordered operations. Pure. */
import { keyOf, type Resource, sameContent, stageOf } from './resource.ts'

export type Operation =
  | { action: 'create'; resource: Resource }
  | { action: 'replace'; resource: Resource; before: Resource }
  | { action: 'delete'; resource: Resource }

export interface Change {
  desired: Resource | undefined
  observed: Resource | undefined
}

/**
 * Operations in stages: all of one stage may run together, stages run in order. Creations and replacements come first, in the order of
 * `stageOf`; deletions follow in the opposite order.
 */
export class Plan {
  readonly #build = new Map<number, Operation[]>()
  readonly #remove = new Map<number, Operation[]>()

  add({ desired, observed }: Change): void {
    if (desired && !observed) push(this.#build, stageOf(desired), { action: 'create', resource: desired })
    else if (desired && observed && !sameContent(desired, observed))
      push(this.#build, stageOf(desired), { action: 'replace', resource: desired, before: observed })
    else if (!desired && observed) push(this.#remove, stageOf(observed), { action: 'delete', resource: observed })
  }

  stages(): Operation[][] {
    const inOrder = (operations: Map<number, Operation[]>) =>
      [...operations].sort(([a], [b]) => a - b).map(([, list]) => list)
    return [...inOrder(this.#build), ...inOrder(this.#remove).reverse()]
  }
}

export function plan(changes: Iterable<Change>): Operation[][] {
  const planned = new Plan()
  for (const change of changes) planned.add(change)
  return planned.stages()
}

function push(stages: Map<number, Operation[]>, stage: number, operation: Operation): void {
  const list = stages.get(stage)
  if (list) list.push(operation)
  else stages.set(stage, [operation])
}

/** Full comparison of two sets, for start-up; the running agent plans only what it touched. */
export function changesBetween(desired: Iterable<Resource>, observed: Iterable<Resource>): Change[] {
  const changes = new Map<string, Change>()
  for (const resource of observed) changes.set(keyOf(resource), { desired: undefined, observed: resource })
  for (const resource of desired) {
    const key = keyOf(resource)
    changes.set(key, { desired: resource, observed: changes.get(key)?.observed })
  }
  return [...changes.values()]
}
