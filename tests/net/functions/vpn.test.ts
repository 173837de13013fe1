/**
 * Topology: bench.ts. The server is the third party's gateway, with strongSwan too; behind it is the network 172.20.0.0/24.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { until } from '../../../scripts/lab/until.ts'
import { FunctionBench, SERVER } from './bench.ts'

const OWN = '198.18.1.7'
const FAR = '172.20.0.1'
const SECRET = 'correct horse battery staple'

/** Of the third party: it waits for whoever knows the secret. */
async function thirdParty(bench: FunctionBench): Promise<void> {
  const folder = join(bench.folder, 'third')
  const socket = `unix://${folder}/charon.vici`
  mkdirSync(join(folder, 'swanctl'), { recursive: true })
  writeFileSync(
    join(folder, 'strongswan.conf'),
    `charon-systemd {
      load = random nonce drbg pem openssl gcm aes sha2 hmac kdf kernel-libipsec kernel-netlink socket-default vici
      plugins {
        vici {
          socket = ${socket}
        }
      }
    }`,
  )
  const config = join(folder, 'swanctl/swanctl.conf')
  writeFileSync(
    config,
    `connections {
      branches {
        version = 2
        proposals = aes256gcm16-prfsha384-ecp384
        encap = yes
        local {
          auth = psk
          id = ${SERVER[4]}
        }
        remote {
          auth = psk
        }
        children {
          networks {
            local_ts = 172.20.0.0/24
            remote_ts = 0.0.0.0/0
            esp_proposals = aes256gcm16
          }
        }
      }
    }
    secrets {
      ike {
        secret = "${SECRET}"
      }
    }`,
  )
  const env = { STRONGSWAN_CONF: join(folder, 'strongswan.conf'), SWANCTL_DIR: join(folder, 'swanctl') }
  bench.start('server', ['charon-systemd'], env)
  await until('the third party listens', 20_000, async () =>
    bench.exec('server', ['swanctl', '--stats', '--uri', socket]),
  )
  await bench.exec('server', ['swanctl', '--load-all', '--noprompt', '--file', config, '--uri', socket])
}

describe('vpn', () => {
  let bench: FunctionBench

  beforeAll(async () => {
    bench = await FunctionBench.wire()
    await bench.exec('server', ['ip', 'addr', 'add', `${FAR}/32`, 'dev', 'lo'])
    const secret = join(bench.folder, 'secret')
    writeFileSync(secret, SECRET)
    bench.start('server', ['tcpdump', '-lni', 'eth0', 'net', '172.20.0.0/24'])
    await bench.run('vpn', {
      BRANCHLINE_NAT4: OWN,
      VPN_REMOTE: SERVER[4],
      VPN_REMOTE_NETWORKS: '172.20.0.0/24',
      VPN_SECRET_FILE: secret,
    })
  })

  afterAll(() => bench.close())

  it('lets nothing pass in clear while there is no tunnel', async () => {
    await expect(bench.exec('client', ['ping', '-nc1', '-W1', FAR])).rejects.toThrow()
  })

  it('builds the tunnel when the third party is there, and carries connections', async () => {
    await thirdParty(bench)
    await until('the network behind the tunnel answers', 30_000, async () =>
      (await bench.exec('client', ['ping', '-nc1', '-W1', FAR])).includes('1 received'),
    )
    writeFileSync(join(bench.folder, 'page'), 'p'.repeat(1_000_000))
    bench.start('server', ['busybox', 'httpd', '-f', '-p', `${FAR}:80`, '-h', bench.folder])
    await bench.listens('server', 80)
    const page = await bench.exec('client', ['curl', '-sS', '-m', '20', `http://${FAR}/page`])
    expect(page.length).toBe(1_000_000)
  })

  it('shows the WAN nothing of it', () => {
    expect(bench.log.split('\n').filter(line => line.includes(FAR) && / IP /.test(line))).toEqual([])
  })

  it('leaves what goes elsewhere alone', async () => {
    // The third party itself would answer over IPv4 through the tunnel, where it may not.
    expect(await bench.exec('client', ['ping', '-6', '-nc1', '-W2', SERVER[6]])).toContain('1 received')
  })

  it('ends at SIGTERM with all that it started', async () => {
    expect(await bench.end()).toBe(0)
    expect(await bench.processes('function')).toEqual([])
  })
})
