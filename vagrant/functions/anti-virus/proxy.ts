/**
 * proxy.ts FOLDER CLAMD_PORT FIRST_PORT: HTTP of an adapter's clients, taken on port FIRST_PORT + N and scanned both ways. Nothing of a body is given on
 * before all of it was scanned, and what cannot be scanned is answered by 502. Node does the HTTP.
 *
 *   client == in<N> ==> request -> scan -> [ 403 | connection from the client's address ] == out<N> ==> server
 *                    <- scan <- response
 */

import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { type ScanOptions, type Spooled, scan } from './scan.ts'
import { connectFrom, listenTransparent, plainAddress } from './sockets.ts'

const ADAPTERS = 8
const MAX_BYTES = 100 * 1024 * 1024
const SERVER_MS = 60_000

/** Of one connection (RFC 9110, 7.6.1), and those that the proxy decides on. */
const OWN_HEADERS = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'content-length',
  'expect',
  // A part of a file tells nothing of the whole.
  'range',
  'if-range',
  'accept-encoding',
])
/** What ClamAV opens by itself. */
const ENCODINGS = ['identity', 'gzip', 'x-gzip']

const [folder = '', clamdPort, firstPort] = process.argv.slice(2)
const options: ScanOptions = { folder, clamdPort: Number(clamdPort), maxBytes: MAX_BYTES }

for (let adapter = 0; adapter < ADAPTERS; adapter++) {
  const mark = 2 * adapter + 2
  const server = createServer((asked, answer) => void carry(asked, answer, mark))
  server.listen({ fd: listenTransparent(Number(firstPort) + adapter) })
}

async function carry(asked: IncomingMessage, answer: ServerResponse, mark: number): Promise<void> {
  const spools: Spooled[] = []
  const take = async (body: IncomingMessage) => {
    const spooled = await scan(body, options)
    spools.push(spooled)
    return spooled
  }
  try {
    const sent = await take(asked)
    if (sent.virus !== undefined) return withhold(asked, answer, sent.virus)
    const given = await ask(asked, sent, mark)
    // Its headers are passed on, but what they say of the body's form must be true for the scanner too.
    const encoding = given.headers['content-encoding']?.toLowerCase() ?? 'identity'
    if (!ENCODINGS.includes(encoding)) throw new Error(`content encoding ${encoding} cannot be scanned`)
    const got = await take(given)
    if (got.virus !== undefined) return withhold(asked, answer, got.virus)
    const headers = passedOn(given)
    if (hasBody(asked, given)) headers.push('Content-Length', String(got.bytes))
    else if (given.headers['content-length'] !== undefined)
      headers.push('Content-Length', given.headers['content-length'])
    answer.writeHead(given.statusCode ?? 502, given.statusMessage, headers)
    await pipeline(got.read(), answer)
  } catch (error) {
    refuse(answer, 502, `The page could not be scanned: ${error instanceof Error ? error.message : String(error)}`)
  } finally {
    await Promise.all(spools.map(spooled => spooled.close()))
  }
}

/** The same request from the same address, but for its port. */
async function ask(asked: IncomingMessage, body: Spooled, mark: number): Promise<IncomingMessage> {
  const { localAddress, localPort, remoteAddress } = asked.socket
  const to = { address: plainAddress(localAddress), port: localPort ?? 80 }
  const headers = [...passedOn(asked), 'Accept-Encoding', 'gzip', 'Connection', 'close']
  if (body.bytes > 0 || asked.headers['content-length'] !== undefined)
    headers.push('Content-Length', String(body.bytes))
  const asking = request({
    createConnection: () => connectFrom(plainAddress(remoteAddress), to, mark),
    ...(asked.method !== undefined && { method: asked.method }),
    path: asked.url ?? '/',
    headers,
    setHost: false,
    timeout: SERVER_MS,
  })
  asking.on('timeout', () => asking.destroy(new Error('the server is silent')))
  const answered = once(asking, 'response') as Promise<[IncomingMessage]>
  const [[given]] = await Promise.all([answered, pipeline(body.read(), asking)])
  return given
}

/** Header fields in their order and spelling, by turns with their values. */
function passedOn({ rawHeaders, headers }: IncomingMessage): string[] {
  const named = new Set(headers.connection?.toLowerCase().split(/\s*,\s*/))
  return rawHeaders.flatMap((name, index) => {
    const key = name.toLowerCase()
    return index % 2 === 1 || OWN_HEADERS.has(key) || named.has(key) ? [] : [name, rawHeaders[index + 1] ?? '']
  })
}

function hasBody(asked: IncomingMessage, { statusCode = 0 }: IncomingMessage): boolean {
  return asked.method !== 'HEAD' && statusCode !== 204 && statusCode !== 304
}

function withhold(asked: IncomingMessage, answer: ServerResponse, virus: string): void {
  console.log(JSON.stringify({ virus, host: asked.headers.host, path: asked.url, client: asked.socket.remoteAddress }))
  refuse(answer, 403, `This was withheld: it contains ${virus}.`)
}

/** Plain text: what others wrote is never taken for markup. */
function refuse(answer: ServerResponse, status: number, why: string): void {
  if (answer.headersSent) {
    answer.destroy()
    return
  }
  answer.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8', Connection: 'close' })
  answer.end(`${why}\n`)
}
