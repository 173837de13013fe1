/**
 * One TCP transfer, its two ends run in namespaces:
 *   node transfer.ts receive <address> <port>           prints "ready", then the SHA-256 of all it got
 *   node transfer.ts send <address> <port> <megabytes>  prints the SHA-256 of all it sent
 * The data begins with a word that a capture can be searched for, and is pseudo-random after it.
 */
import { createCipheriv, createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'

export const CANARY = 'branchline-canary-0123456789'

const [verb, address = '', port = '', megabytes = ''] = process.argv.slice(2)
const hash = createHash('sha256')

if (verb === 'receive') {
  const server = createServer(socket => {
    socket.on('data', data => hash.update(data))
    socket.on('end', () => {
      console.log(hash.digest('hex'))
      socket.end()
      server.close()
    })
  })
  server.listen(Number(port), address, () => console.log('ready'))
} else if (verb === 'send') {
  const socket = connect(Number(port), address)
  await once(socket, 'connect')
  const stream = createCipheriv('aes-128-ctr', Buffer.alloc(16, 1), Buffer.alloc(16))
  const zeros = Buffer.alloc(1 << 20)
  for (let index = 0; index < Number(megabytes); index++) {
    const chunk = stream.update(zeros)
    if (index === 0) chunk.write(CANARY)
    hash.update(chunk)
    if (!socket.write(chunk)) await once(socket, 'drain')
  }
  socket.end()
  await once(socket, 'close')
  console.log(hash.digest('hex'))
}
