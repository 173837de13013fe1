/**
 * What is wrong is refused, in one line that says what to do. States are forged with the lab's own signing key, or with a stranger's, while the
 * edge cannot reach the orchestrator, which would put them right.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { activate } from '../../../agent/intent/activate.ts'
import { readNode, writeState } from '../../../agent/intent/identity-file.ts'
import { signGrant, verifyGrant } from '../../../agent/mp/grant.ts'
import { decodeSigned, encodeSigned, signingKey } from '../../../agent/mp/signed.ts'
import type { GrantBody } from '../../../schema/grant.ts'
import type { NodeState } from '../../../schema/node-state.ts'
import type { Agent } from '../agent.ts'
import type { Scenario, Stage } from '../scenario.ts'
import { reboot } from '../steps.ts'
import { claim } from '../story.ts'
import { until } from '../until.ts'

const REFUSED_DEADLINE_MS = 30_000
/** On the management network, where nobody listens on this port. */
const NO_ORCHESTRATOR = { orchestrator: { url: 'wss://192.0.2.1:1' } }

export const refusals: Scenario = {
  name: 'refusals',
  about: 'wrong keys, grants, names, subnets, files and ports are refused with words that help',
  enterprises: ['acme'],
  async run(stage) {
    await intent(stage)
    const edge = stage.system.agent('branch-a')
    await edge.kill('TERM')
    await grants(stage, edge)
    await machine(stage, edge)
    await identity(stage, edge)
  },
}

/** What the orchestrator refuses. */
async function intent(stage: Stage): Promise<void> {
  const { lab, system } = stage
  const { admin, port } = system.orchestrator
  const url = `wss://127.0.0.1:${port}`
  const directory = join(lab.dir.path, 'never')
  const create = (name: string, subnets: string[] = []) =>
    admin.node.create.mutate({ name, role: 'edge', enterprise: 'acme', subnets })
  await refuses(stage, 'a text that is no activation key', /no activation key; copy the whole text/, () =>
    activate({ url, key: 'BL1-WRONG', directory }),
  )
  await refuses(stage, 'an activation key for the second time', /this activation key was used/, async () => {
    const { activationKey: key } = await create('spare')
    await activate({ url, key, directory: join(lab.dir.path, 'spare') })
    await activate({ url, key, directory })
  })
  await refuses(stage, 'a node name that is taken', /a node with this name exists/, () => create('branch-a'))
  await refuses(stage, 'a node id that is taken', /a node with this id exists/, async () => {
    const { id } = await admin.node.show.query({ name: 'branch-a' })
    await admin.node.create.mutate({ id, name: 'twin', role: 'edge', enterprise: 'acme' })
  })
  await refuses(
    stage,
    'an overlapping subnet, naming both owners',
    /10\.1\.0\.128\/25 of spare2 overlaps 10\.1\.0\.0\/24 of branch-a/,
    () => create('spare2', ['10.1.0.128/25']),
  )
  await refuses(stage, 'a prefix with host bits, naming the field', /prefix/, () =>
    admin.subnet.add.mutate({ node: 'branch-a', prefix: '10.1.0.1/24' }),
  )
}

/** What the gateway refuses. */
async function grants(stage: Stage, edge: Agent): Promise<void> {
  const genuine = readNode(edge.stateDir).state
  const key = createPrivateKey(readFileSync(join(stage.system.orchestrator.dataDir, 'grant.key')))
  const stranger = generateKeyPairSync('ed25519').privateKey
  const now = Math.floor(Date.now() / 1000)
  const states: [string, RegExp, NodeState][] = [
    ['an expired grant', /expired .* ago/, forge(genuine, key, { notBefore: now - 90_000, expires: now - 3600 })],
    [
      'a grant of tomorrow',
      /becomes valid in/,
      forge(genuine, key, { notBefore: now + 86_400, expires: now + 172_800 }),
    ],
    ["a stranger's grant", /the grant/, forge(genuine, stranger, {})],
  ]
  for (const [what, message, state] of states)
    await stage.story.step(`gw1 refuses ${what}`, async () => {
      await restartWith(stage, edge, state)
      const peer = await until(`gw1 refuses ${what}`, REFUSED_DEADLINE_MS, async () =>
        (await edge.status()).peers.find(each => each.state === 'refused'),
      )
      stage.story.note(peer.reason ?? 'no reason')
      claim(message.test(peer.reason ?? ''), `the reason does not match ${message}`)
      await edge.kill('TERM')
    })
  await stage.story.step('a gateway with another key than its entry says gets no tunnel', async () => {
    const gateways = genuine.gateways.map(entry => ({ ...entry, staticKey: Buffer.alloc(32, 9).toString('base64') }))
    await restartWith(stage, edge, { ...genuine, gateways })
    const gateway = stage.system.agent('gw1')
    const arrived = async () => (await gateway.drops()).counters['handshake-in'] ?? 0
    const before = await arrived()
    await until('the edge has tried three times', REFUSED_DEADLINE_MS, async () => (await arrived()) >= before + 3)
    const [peer] = (await edge.status()).peers
    claim(peer?.state === 'connecting', `the tunnel is ${peer?.state}`)
    stage.story.note(`${peer.state}: ${peer.reason ?? 'the edge gives no reason'}`)
    await edge.kill('TERM')
  })
  await writeState(edge.stateDir, genuine)
}

/** From nothing: an agent that adopts tunnels would need no handshake. */
async function restartWith(stage: Stage, edge: Agent, state: NodeState): Promise<void> {
  await reboot(stage, edge)
  await writeState(edge.stateDir, state)
  await edge.start(NO_ORCHESTRATOR)
}

/** What the agent refuses to start with. */
async function machine(stage: Stage, edge: Agent): Promise<void> {
  const { lab, story } = stage
  const state = join(edge.stateDir, 'state')
  const whole = readFileSync(state)
  const fails = (what: string, message: RegExp, change: Parameters<Agent['startInVain']>[0] = {}) =>
    story.step(`the agent refuses ${what}`, async () => {
      const { code, stderr } = await edge.startInVain(change)
      const line = stderr.trim().split('\n').at(-1) ?? ''
      story.note(line)
      claim(code !== 0, 'its exit code is 0')
      claim(message.test(line), `the last line does not match ${message}`)
    })
  writeFileSync(state, whole.subarray(0, whole.length / 2))
  await fails('half a state file', /branch-a\/state\/state/)
  writeFileSync(state, whole)
  await fails('a folder for pins that is on no bpffs', /bpffs/, { bpffs: join(lab.machine.local, 'run') })
  await fails('a configuration with a wrong field, naming it', /wan\.0\.interface/, {
    wan: [{ name: 'inet', interface: 'a name that is too long' }],
  })
  const squatter = await lab.start(edge.name, { name: 'squatter', argv: ['nc', '-u', '-l', '203.0.113.2', '2426'] })
  await until('the port is taken', 10_000, async () => (await lab.run(edge.name, ['ss', '-Hlun'])).includes(':2426'))
  await fails('a port that is taken', /port taken/)
  await squatter.end('KILL')
}

/** A node that moved to another machine, and one that was revoked. */
async function identity(stage: Stage, edge: Agent): Promise<void> {
  const { story, lab, system } = stage
  const { admin, port } = system.orchestrator
  const gateway = system.agent('gw1')
  const refusedBy = async (agent: Agent, message: RegExp) => {
    const peer = await until(`gw1 refuses ${agent.name}`, REFUSED_DEADLINE_MS, async () =>
      (await agent.status()).peers.find(each => each.state === 'refused'),
    )
    story.note(peer.reason ?? 'no reason')
    claim(message.test(peer.reason ?? ''), `the reason does not match ${message}`)
  }
  await story.step('gw1 refuses the machine whose identity was given to another one', async () => {
    const former = readNode(edge.stateDir).state
    const { activationKey } = await admin.node.key.mutate({ name: edge.name })
    const elsewhere = join(lab.dir.path, 'elsewhere')
    await activate({ url: `wss://127.0.0.1:${port}`, key: activationKey, directory: elsewhere })
    // The new machine takes the place of branch-b.
    const other = system.agent('branch-b')
    await reboot(stage, other)
    cpSync(elsewhere, other.stateDir, { recursive: true })
    await other.start()
    await system.connected(other)
    await restartWith(stage, edge, former)
    await refusedBy(edge, /two machines use one identity|revoked/)
    await edge.kill('TERM')
  })
  await story.step('gw1 ends the session of a revoked node', async () => {
    await admin.node.revoke.mutate({ name: edge.name })
    await until('gw1 has no such peer', REFUSED_DEADLINE_MS, async () =>
      (await gateway.status()).peers.every(peer => peer.name !== edge.name || peer.state !== 'up'),
    )
    const event = (await gateway.events()).find(({ message }) => message.includes('revoked'))
    claim(event !== undefined, 'gw1 reports no revocation')
    story.note(event.message)
  })
}

async function refuses(
  { story }: Stage,
  what: string,
  message: RegExp,
  attempt: () => Promise<unknown>,
): Promise<void> {
  await story.step(`the orchestrator refuses ${what}`, async () => {
    const said = await attempt().then(
      () => undefined,
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    )
    claim(said !== undefined, 'it was accepted')
    story.note(said.replaceAll(/\s+/g, ' '))
    claim(message.test(said), `the message does not match ${message}`)
  })
}

/** The same state with a changed grant under another signature; the edge itself is made to trust the signer. */
function forge(state: NodeState, privateKey: KeyObject, change: Partial<GrantBody>): NodeState {
  const anchors = state.trust.anchors.map(text => Buffer.from(text, 'base64'))
  const signed = decodeSigned(Buffer.from(state.grant, 'base64'))
  claim(signed.ok, 'the state holds no grant')
  const verified = verifyGrant(signed.value, { anchors, revocations: undefined }, { now: Date.now() / 1000 })
  claim(verified.ok, 'the state holds no valid grant')
  const key = signingKey(privateKey)
  const grant = Buffer.from(encodeSigned(signGrant({ ...verified.grant, ...change }, key))).toString('base64')
  const trusted = [...state.trust.anchors, Buffer.from(key.publicKey).toString('base64')]
  return { ...state, grant, trust: { ...state.trust, anchors: [...new Set(trusted)] } }
}
