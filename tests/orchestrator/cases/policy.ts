import { describe, expect, test } from 'vitest'
import { verifyPolicy } from '../../../agent/mp/policy.ts'
import { decodeSigned } from '../../../agent/mp/signed.ts'
import type { NodeState } from '../../../schema/node-state.ts'
import type { PolicyBody } from '../../../schema/policy.ts'
import { messageOf, stateWhere } from '../harness.ts'
import type { Setup } from '../setup.ts'

/** The policy, verified as every gateway would. */
function policyOf({ policy, trust, vpn }: NodeState): PolicyBody | undefined {
  if (policy === null) return undefined
  const signed = decodeSigned(Buffer.from(policy, 'base64'))
  if (!signed.ok) throw new Error(signed.problem)
  const anchors = trust.anchors.map(text => new Uint8Array(Buffer.from(text, 'base64')))
  const verified = verifyPolicy(signed.value, anchors, vpn?.enterprise ?? '')
  if (!verified.ok) throw new Error(verified.message)
  return verified.policy
}

const hop = (name: string, failOpen = false) => ({ function: name, failOpen })

export function policyCases(s: Setup): void {
  describe('policy', () => {
    test('every change is a version, signed and published to the edges of its enterprise alone', async () => {
      await s.admin.enterprise.create.mutate({ name: 'pol' })
      await s.admin.enterprise.create.mutate({ name: 'pol-not', security: 'clear' })
      const { state } = await s.edge('pol', 'pol-a', ['10.1.0.0/24'])
      expect(state.policy).toBeNull()
      const client = await s.bench.connect('pol-a')
      const other = await s.edge('pol-not', 'pol-not-a', [])
      await s.edge('pol-not', 'pol-not-b', [])
      const quiet = await s.bench.connect('pol-not-b')
      const { grant } = client.state

      const enterprise = 'pol'
      await s.admin.zone.add.mutate({ enterprise, name: 'servers', prefixes: ['10.9.0.0/16', '2001:db8:9::/48'] })
      await s.admin.chain.create.mutate({ enterprise, name: 'inspect', hops: [hop('dpi', true), hop('nat')] })
      const added = s.admin.rule.add.mutate({
        enterprise,
        name: 'web',
        destination: ['servers'],
        proto: 6,
        destinationPorts: [80, 443],
        chain: 'inspect',
        existing: 'move',
      })
      expect(await added).toEqual({ changed: true, version: 4 })
      await s.admin.rule.add.mutate({ enterprise, name: 'dns', proto: 17, chain: null, before: 'web' })
      await s.admin.policy.internet.mutate({ enterprise, enabled: true })
      const published = policyOf(await stateWhere(client, candidate => policyOf(candidate)?.serial === 6))
      expect(published).toMatchObject({
        oldest: 4,
        security: 'esp',
        internet: true,
        zones: [{ name: 'servers', prefixes: ['10.9.0.0/16', '2001:db8:9::/48'] }],
        chains: [{ name: 'inspect', hops: [hop('dpi', true), hop('nat')] }],
        rules: [
          { name: 'dns', id: 2, chain: null },
          { name: 'web', id: 1, destination: ['servers'], destinationPorts: [80, 443] },
        ],
      })
      // Grants are not signed anew, and nobody else hears of it.
      expect(client.state.grant).toBe(grant)
      expect([quiet.state.policy, other.state.policy]).toEqual([null, null])
      await client.close()
      await quiet.close()
    })

    test('the same again is no change; a rule that moves connections says from which version on', async () => {
      const enterprise = 'pol'
      const { version } = await s.admin.policy.show.query({ enterprise })
      const again = { changed: false, version }
      expect(await s.admin.policy.internet.mutate({ enterprise, enabled: true })).toEqual(again)
      expect(await s.admin.zone.add.mutate({ enterprise, name: 'servers', prefixes: ['10.9.0.0/16'] })).toEqual(again)
      expect(await s.admin.rule.move.mutate({ enterprise, name: 'web' })).toEqual(again)
      const same = { enterprise, name: 'inspect', hops: [hop('dpi', true), hop('nat')], replace: true }
      expect(await s.admin.chain.create.mutate(same)).toEqual(again)

      await s.admin.rule.move.mutate({ enterprise, name: 'dns' })
      expect(await s.admin.policy.show.query({ enterprise })).toMatchObject({ version: version + 1, oldest: 4 })
      await s.admin.chain.create.mutate({ ...same, hops: [hop('nat')] })
      expect(await s.admin.policy.show.query({ enterprise })).toMatchObject({
        version: version + 2,
        oldest: version + 2,
        rules: [{ name: 'web' }, { name: 'dns' }],
      })
      const { events } = await s.admin.events.list.query({ enterprise, action: 'chain.' })
      expect(events.map(({ action, object, message }) => ({ action, object, message }))).toEqual([
        { action: 'chain.replace', object: 'chain:inspect', message: 'pol: chain inspect is nat' },
        { action: 'chain.create', object: 'chain:inspect', message: 'pol: chain inspect is dpi, then nat' },
      ])
    })

    test('a number that a rule had is never given again, and what is left goes in order', async () => {
      const enterprise = 'pol'
      await s.admin.rule.remove.mutate({ enterprise, name: 'dns' })
      await s.admin.rule.add.mutate({ enterprise, name: 'late', chain: 'inspect', shadow: true, direction: 'both' })
      expect((await s.admin.policy.show.query({ enterprise })).rules.map(({ name, id }) => [name, id])).toEqual([
        ['web', 1],
        ['late', 3],
      ])
      for (const name of ['web', 'late']) await s.admin.rule.remove.mutate({ enterprise, name })
      await s.admin.chain.delete.mutate({ enterprise, name: 'inspect' })
      await s.admin.zone.remove.mutate({ enterprise, name: 'servers', prefixes: ['10.9.0.0/16'] })
      expect((await s.admin.policy.show.query({ enterprise })).zones).toEqual([
        { name: 'servers', prefixes: ['2001:db8:9::/48'] },
      ])
      await s.admin.zone.remove.mutate({ enterprise, name: 'servers' })
      expect(await s.admin.policy.show.query({ enterprise })).toMatchObject({ zones: [], chains: [], rules: [] })
    })

    test('what cannot be meant is refused in one line, and nothing changes', async () => {
      const enterprise = 'pol'
      await s.admin.chain.create.mutate({ enterprise, name: 'good', hops: [hop('nat')] })
      await s.admin.zone.add.mutate({ enterprise, name: 'four', prefixes: ['10.0.0.0/8'] })
      await s.admin.rule.add.mutate({ enterprise, name: 'first', source: ['four'], chain: 'good' })
      const { version } = await s.admin.policy.show.query({ enterprise })
      const rule = { enterprise, name: 'bad', chain: 'good' }
      const refused: [() => Promise<unknown>, RegExp][] = [
        [
          () => s.admin.chain.create.mutate({ enterprise, name: 'x', hops: [] }),
          /^hops: a chain needs at least one function$/,
        ],
        [
          () => s.admin.chain.create.mutate({ enterprise, name: 'x', hops: [hop('nat'), hop('dpi'), hop('nat')] }),
          /^hops: a function may be in a chain only once$/,
        ],
        [
          () =>
            s.admin.chain.create.mutate({
              enterprise,
              name: 'x',
              hops: Array.from({ length: 9 }, (_, n) => hop(`f${n}`)),
            }),
          /^hops: a chain has at most 8 functions$/,
        ],
        [
          () => s.admin.chain.create.mutate({ enterprise, name: 'good', hops: [hop('dpi')] }),
          /^there is a chain good already; --replace changes what it does$/,
        ],
        [
          () => s.admin.chain.delete.mutate({ enterprise, name: 'good' }),
          /^chain good is used by rule first; remove that first$/,
        ],
        [
          () => s.admin.chain.delete.mutate({ enterprise, name: 'none' }),
          /^there is no chain none; 'branchline chain list' shows/,
        ],
        [() => s.admin.rule.add.mutate({ ...rule, chain: 'none' }), /^there is no chain none/],
        [() => s.admin.rule.add.mutate({ ...rule, source: ['nowhere'] }), /^there is no zone nowhere/],
        [() => s.admin.rule.add.mutate({ ...rule, before: 'nobody' }), /^there is no rule nobody/],
        [() => s.admin.rule.add.mutate({ ...rule, name: 'first' }), /^there is a rule first already; remove it first$/],
        [
          () => s.admin.rule.add.mutate({ ...rule, proto: 6, destinationPorts: [443, 80] }),
          /^destinationPorts: the first port must not be above the last$/,
        ],
        [
          () => s.admin.rule.add.mutate({ ...rule, destinationPorts: [80, 80] }),
          /^ports need a protocol that has them/,
        ],
        [() => s.admin.rule.add.mutate({ ...rule, source: ['10.0.0.1/8'] }), /^source\.0: must be a prefix like/],
        [() => s.admin.rule.add.mutate({ ...rule, source: ['::/0'] }), /^source\.0: must not reach into/],
        [
          () => s.admin.rule.add.mutate({ ...rule, source: ['four'], destination: ['2001:db8::/32'] }),
          /^rule bad can match nothing: its source and destination are of different families$/,
        ],
        [
          () => s.admin.zone.add.mutate({ enterprise, name: 'six', prefixes: ['::/0'] }),
          /^prefixes\.0: must not reach into/,
        ],
        [
          () => s.admin.zone.remove.mutate({ enterprise, name: 'four' }),
          /^zone four is used by rule first; remove that first$/,
        ],
        [
          () => s.admin.zone.remove.mutate({ enterprise, name: 'four', prefixes: ['10.1.0.0/16'] }),
          /^zone four has no 10\.1/,
        ],
        [() => s.admin.policy.show.query({ enterprise: 'nobody' }), /^there is no enterprise nobody/],
      ]
      for (const [attempt, text] of refused) expect(await messageOf(attempt())).toMatch(text)
      expect((await s.admin.policy.show.query({ enterprise })).version).toBe(version)
    })

    test('zones that multiply to more than a VRF holds are refused by the rule that does it', async () => {
      const enterprise = 'pol'
      const prefixes = (net: number) => Array.from({ length: 40 }, (_, n) => `10.${net}.${n}.0/24`)
      await s.admin.zone.add.mutate({ enterprise, name: 'left', prefixes: prefixes(1) })
      await s.admin.zone.add.mutate({ enterprise, name: 'right', prefixes: prefixes(2) })
      const rule = { enterprise, name: 'wide', source: ['left'], destination: ['right'], chain: 'good' }
      expect(await messageOf(s.admin.rule.add.mutate(rule))).toBe(
        'with rule wide there are more than 1024 pairs of prefixes; join some',
      )
    })
  })
}
