/** A thread that does the responder's cryptographic half: commands in, replies out (responder-pool.ts is the other end). */
import { parentPort, workerData } from 'node:worker_threads'
import { type CryptoCommand, type CryptoOptions, type CryptoReply, ResponderCrypto } from './responder-crypto.ts'

const port = parentPort
if (port === null) throw new Error('responder-worker.ts is not a program')

/** A view takes its whole buffer along: small Buffers are views of 8 kB. */
const portable = (reply: CryptoReply) =>
  reply.type === 'answered' ? { ...reply, packets: reply.packets.map(packet => Uint8Array.from(packet)) } : reply

const crypto = new ResponderCrypto(workerData as CryptoOptions, reply => port.postMessage(portable(reply)))
port.on('message', (command: CryptoCommand) => crypto.run(command))
