import { expect, it } from 'vitest'
import { generateKeyPair } from './dh.ts'
import type { CryptoPort, PortReply } from './responder.ts'
import type { CryptoCommand } from './responder-crypto.ts'
import { cryptoOnDemand } from './responder-demand.ts'

const configure: CryptoCommand = {
  type: 'configure',
  trust: { anchors: [], revocations: undefined },
  ownGrant: { keyId: new Uint8Array(8), body: new Uint8Array(1), signature: new Uint8Array(64) },
}
const init = (id: number): CryptoCommand => ({
  type: 'init',
  id,
  senderSid: 1,
  noise: new Uint8Array(200),
  room: 1200,
  now: 0,
})

function setUp() {
  const pooled: CryptoCommand[] = []
  const replies: PortReply[] = []
  let now = 1000
  let closed = 0
  const pool: CryptoPort = {
    pressure: 'busy',
    post: command => pooled.push(command) > 0,
    close: () => {
      closed += 1
    },
  }
  const port = cryptoOnDemand(
    () => pool,
    () => now,
  )({ staticKey: generateKeyPair(), hybrid: 'off' }, reply => replies.push(reply))
  const pass = (ms: number) => {
    now += ms
  }
  return { port, pooled, replies, pass, closed: () => closed }
}

it('keeps few initiations in this thread, however long', () => {
  const { port, pooled, replies, pass } = setUp()
  port.post(configure, '')
  for (let id = 0; id < 200; id++) {
    expect(port.post(init(id), 'a')).toBe(true)
    pass(50)
  }
  expect([pooled.length, replies.length, port.pressure]).toEqual([0, 200, 'none'])
})

it('opens the pool, configured, for the 33rd of a second, and never goes back', () => {
  const { port, pooled, replies, pass, closed } = setUp()
  port.post(configure, '')
  for (let id = 0; id < 34; id++) port.post(init(id), 'a')
  expect(replies.map(({ id }) => id)).toEqual(Array.from({ length: 32 }, (_, id) => id))
  expect(pooled).toEqual([configure, init(32), init(33)])
  expect(port.pressure).toBe('busy')
  pass(10_000)
  port.post(init(34), 'a')
  port.post({ type: 'forget', id: 33 }, 'a')
  port.post(configure, '')
  expect(pooled.slice(3)).toEqual([init(34), { type: 'forget', id: 33 }, configure])
  port.close()
  expect(closed()).toBe(1)
})
