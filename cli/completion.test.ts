import { expect, test } from 'vitest'
import { complete, type NameKind } from './completion.ts'
import { buildProgram } from './program.ts'

const names: Record<NameKind, string[]> = { enterprises: ['acme', 'apex'], nodes: ['edge-a', 'edge-b', 'gw1'] }

test.each([
  [
    '',
    [
      'agent',
      'chain',
      'completion',
      'drops',
      'enterprise',
      'events',
      'gateway',
      'help',
      'internet',
      'lab',
      'metrics',
      'node',
      'orchestrator',
      'path',
      'paths',
      'policy',
      'rekey',
      'routes',
      'rule',
      'services',
      'status',
      'subnet',
      'vpn',
      'zone',
    ],
  ],
  ['vp', ['vpn']],
  ['vpn o', ['off', 'on']],
  ['vpn on ', ['acme', 'apex']],
  ['vpn on ac', ['acme']],
  ['node show e', ['edge-a', 'edge-b']],
  ['node create x --enterprise a', ['acme', 'apex']],
  ['node create x --role ', ['edge', 'gateway']],
  ['node create x --en', ['--endpoint', '--enterprise']],
  ['--json vpn on ', ['acme', 'apex']],
  ['--data-dir /srv vpn on ', ['acme', 'apex']],
  ['gateway assign acme g', ['gw1']],
  ['completion z', ['zsh']],
  ['enterprise list ', []],
  ['node show edge-a ', []],
  ['nonsense ', []],
] as const)('%j completes to %j', async (line, expected) => {
  const found = await complete(buildProgram(), line.split(' '), async kind => names[kind])
  expect(found).toEqual([...expected])
})
