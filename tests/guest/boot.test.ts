/**
 * host  --TCP 127.0.0.1-->  QEMU  -->  agent in namespace "control"  -->  commands in the first namespace
 *                                      host0 10.0.2.15  -->  10.0.2.2 = the host's loopback
 */

import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Guest, startGuest } from '../../scripts/guest/guest.ts'
import { REPO } from '../../scripts/guest/rundir.ts'
import { acquireGuest, type TestGuest } from './guest.ts'

let acquired: TestGuest
let guest: Guest

beforeAll(async () => {
  acquired = await acquireGuest()
  guest = acquired.guest
}, 150_000)
afterAll(() => acquired.release())

/** Standard output of a shell command that must succeed. */
async function sh(script: string): Promise<string> {
  const result = await guest.exec(['sh', '-c', script])
  expect(result, script).toMatchObject({ code: 0 })
  return result.stdout
}

describe('what the guest is for', () => {
  it('runs a kernel >= 6.12', async () => {
    const [major = 0, minor = 0] = (await sh('uname -r')).split('.').map(Number)
    expect(major * 1000 + minor).toBeGreaterThanOrEqual(6012)
    expect(guest.kernel).toBe((await sh('uname -r')).trim())
  })

  it('takes an ESP SA with ESN and the widest replay window, without ESP offload', async () => {
    const state = await sh(`ip netns add esp
      trap 'ip netns del esp' EXIT
      ip -n esp xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001 mode tunnel if_id 7 reqid 7 \
        replay-window 4096 flag esn aead 'rfc4106(gcm(aes))' 0x${'11'.repeat(20)} 128
      ip -n esp xfrm state`)
    expect(state).toMatch(/proto esp spi 0x00001001 reqid 7 mode tunnel/)
    expect(state).toMatch(/replay_window 4096/)
    expect(await sh('ls /sys/module')).not.toMatch(/esp[46]_offload/)
  })

  it.each([
    ['xfrm external', 'type xfrm external', 'xfrm external'],
    ['vrf', 'type vrf table 10', 'vrf table 10'],
    ['dummy', 'type dummy', 'dummy'],
    ['wireguard', 'type wireguard', 'wireguard'],
  ])('has %s devices', async (_name, how, shown) => {
    expect(await sh(`ip link add probe0 ${how} && ip -d link show probe0 && ip link del probe0`)).toContain(shown)
  })

  it('delays packets with netem', async () => {
    const out = await sh(`ip netns add slow
      trap 'ip netns del slow' EXIT
      ip -n slow link set lo up && tc -n slow qdisc add dev lo root netem delay 100ms
      ip netns exec slow ping -c 1 127.0.0.1`)
    const time = Number(/time=([\d.]+)/.exec(out)?.[1])
    expect(time).toBeGreaterThanOrEqual(200)
  })

  it('pins a map in bpffs', async () => {
    const out = await sh(`bpftool map create /sys/fs/bpf/probe type hash key 4 value 4 entries 1 name probe
      bpftool map show pinned /sys/fs/bpf/probe && rm /sys/fs/bpf/probe`)
    expect(out).toContain('name probe')
  })
})

describe("the host's files", () => {
  it('are there and read-only', async () => {
    expect(await sh('cat package.json')).toBe(readFileSync(join(REPO, 'package.json'), 'utf8'))
    for (const path of ['/usr/probe', `${REPO}/probe`, `${REPO}/node_modules/probe`]) {
      const result = await guest.exec(['touch', path])
      expect(result, path).toMatchObject({ code: 1, stderr: expect.stringContaining('Read-only file system') })
    }
  })

  it('show what the host changes while the guest runs', async () => {
    const file = join('.cache/guest', `probe-${process.pid}`)
    try {
      for (const text of ['one', 'two']) {
        execFileSync('sh', ['-c', `echo ${text} >${file}`], { cwd: REPO })
        expect(await sh(`cat ${file}`)).toBe(`${text}\n`)
      }
    } finally {
      execFileSync('rm', ['-f', file], { cwd: REPO })
    }
  })

  it('stay as they are when the guest writes to /tmp, /etc and /var', async () => {
    const name = `branchline-${randomUUID()}`
    await sh(`touch /tmp/${name} /etc/${name} /var/${name}`)
    for (const dir of ['/tmp', '/etc', '/var']) expect(existsSync(join(dir, name)), dir).toBe(false)
  })

  it('come back through the share', async () => {
    await guest.exec(['sh', '-c', 'echo result >"$SHARE/out"'], { env: { SHARE: guest.share } })
    expect(readFileSync(join(guest.share, 'out'), 'utf8')).toBe('result\n')
  })
})

describe('commands', () => {
  it.each([0, 1, 42, 255])('end with exit code %d', async code => {
    expect(await guest.exec(['sh', '-c', `exit ${code}`])).toMatchObject({ code, signal: null })
  })

  it('report the signal that ended them', async () => {
    expect(await guest.exec(['sh', '-c', 'kill -9 $$'])).toMatchObject({ code: null, signal: 'SIGKILL' })
  })

  it('get standard input and keep the two outputs apart', async () => {
    const result = await guest.exec(['sh', '-c', 'echo error >&2; wc -c'], { stdin: 'x'.repeat(3_000_000) })
    expect(result).toMatchObject({ code: 0, stdout: '3000000\n', stderr: 'error\n' })
  })

  it('stream their output while they run', async () => {
    const seen: string[] = []
    let ended = false
    const running = guest
      .exec(['sh', '-c', 'echo first; read line; echo "$line"'], {
        stdin: later('second\n', () => seen.length > 0),
        onStdout: chunk => seen.push(chunk.toString()),
      })
      .finally(() => {
        ended = true
      })
    while (seen.length === 0 && !ended) await sleep(10)
    expect({ seen: seen.join(''), ended }).toEqual({ seen: 'first\n', ended: false })
    expect(await running).toMatchObject({ code: 0 })
    expect(seen.join('')).toBe('first\nsecond\n')
  })

  it('run side by side', async () => {
    // Each waits for the other's file: one after the other they would never end.
    const meet = (mine: string, other: string) =>
      guest.exec(['sh', '-c', `touch /run/${mine}; until [ -e /run/${other} ]; do sleep 0.05; done; echo ${mine}`])
    const [a, b] = await Promise.all([meet('meet-a', 'meet-b'), meet('meet-b', 'meet-a')])
    expect([a.stdout, b.stdout]).toEqual(['meet-a\n', 'meet-b\n'])
  })

  it('die with their whole process group when aborted', async () => {
    const controller = new AbortController()
    const running = guest.exec(['sh', '-c', 'echo up; sleep 4321; echo never'], {
      onStdout: () => controller.abort(new Error('enough')),
      signal: controller.signal,
    })
    await expect(running).rejects.toThrow('enough')
    await expect.poll(async () => (await guest.exec(['pgrep', '-f', 'sleep 432[1]'])).code, { timeout: 5000 }).toBe(1)
  })

  it('are refused with a reason when their directory is missing', async () => {
    await expect(guest.exec(['true'], { cwd: '/nowhere' })).rejects.toThrow('no directory /nowhere in the guest')
  })
})

describe('the network', () => {
  it("reaches a port on the host's loopback at 10.0.2.2 and nothing beyond", async () => {
    const server = createServer(socket => socket.end('hello from the host\n')).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    try {
      expect(await sh(`nc -w 5 10.0.2.2 ${port} </dev/null`)).toBe('hello from the host\n')
    } finally {
      server.close()
    }
    expect(await guest.exec(['ping', '-c', '1', '-W', '1', '192.0.2.1'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('Network is unreachable'),
    })
  })

  it('leaves commands working when a test takes every device of the first namespace down', async () => {
    await sh('ip link set host0 down; ip link set lo down')
    expect(await sh('echo alive')).toBe('alive\n')
    await sh('ip link set lo up; ip link set host0 up')
    expect(await guest.exec(['ip', 'link', 'show', 'control0'])).toMatchObject({ code: 1 })
  })
})

describe('starting', () => {
  it('refuses a name that runs already', async () => {
    await expect(startGuest({ name: guest.name })).rejects.toThrow(`guest ${guest.name} runs already`)
  })
})

/** A stream that gives its text once the condition holds. */
function later(text: string, condition: () => boolean): Readable {
  return Readable.from(
    (async function* () {
      while (!condition()) await sleep(10)
      yield text
    })(),
  )
}
