/** Processes that take part in a measurement: started in a namespace, asked by name, gone with the one that asks. */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import type { Namespace } from '../../../tests/net/dataplane/namespace.ts'
import { BenchError } from '../error.ts'

interface Question {
  id: number
  name: string
  argument: unknown
}
type Answer = { id: number; value: unknown } | { id: number; problem: string }

export class Child<Procedures extends Record<string, (argument: never) => unknown>> implements Disposable {
  readonly #process: ChildProcess
  readonly #waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>()
  #last = 0

  /** @param file in this folder; it calls `serve` @param flags of node */
  constructor(namespace: Namespace, file: string, flags: readonly string[] = []) {
    const inside = [`--net=/run/netns/${namespace.name}`, process.execPath, '--expose-gc', ...flags]
    this.#process = spawn('nsenter', [...inside, join(import.meta.dirname, file)], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.#process.on('message', message => this.#answered(message as Answer))
    this.#process.on('exit', code => this.#fail(`${file} ended with ${code}`))
    this.#process.on('error', error => this.#fail(`${file}: ${error.message}`))
  }

  ask<Name extends keyof Procedures & string>(
    name: Name,
    argument: Parameters<Procedures[Name]>[0],
  ): Promise<Awaited<ReturnType<Procedures[Name]>>> {
    this.#last += 1
    const id = this.#last
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#process.send({ id, name, argument } satisfies Question)
    })
  }

  #answered(answer: Answer): void {
    const waiting = this.#waiting.get(answer.id)
    this.#waiting.delete(answer.id)
    if ('problem' in answer) waiting?.reject(new BenchError(answer.problem))
    else waiting?.resolve(answer.value as never)
  }

  #fail(problem: string): void {
    for (const { reject } of this.#waiting.values()) reject(new BenchError(problem))
    this.#waiting.clear()
  }

  [Symbol.dispose](): void {
    this.#process.kill('SIGKILL')
  }
}

/** The child's end. Ends the process when the parent is gone. */
export function serve(procedures: Record<string, (argument: never) => unknown>): void {
  process.on('message', async ({ id, name, argument }: Question) => {
    let answer: Answer
    try {
      const procedure = procedures[name]
      if (!procedure) throw new Error(`no procedure ${name}`)
      answer = { id, value: await procedure(argument as never) }
    } catch (error) {
      answer = { id, problem: error instanceof Error ? (error.stack ?? error.message) : String(error) }
    }
    process.send?.(answer)
  })
  process.on('disconnect', () => process.exit())
}
