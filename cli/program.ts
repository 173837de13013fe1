/** The command's tree: every noun adds its own part. */
import { Command } from 'commander'
import { addAgent } from './agent.ts'
import { addChain } from './chain.ts'
import { addCompletion } from './completion.ts'
import { addEnterprise } from './enterprise.ts'
import { addEvents } from './events.ts'
import { addGateway } from './gateway.ts'
import { addLab } from './lab.ts'
import { addLocal } from './local.ts'
import { addNode } from './node.ts'
import { addOrchestrator } from './orchestrator.ts'
import { addPaths } from './paths.ts'
import { addPolicy } from './policy.ts'
import { addRule } from './rule.ts'
import { addServices } from './services.ts'
import { addSubnet } from './subnet.ts'
import { addVpn } from './vpn.ts'
import { addZone } from './zone.ts'

export function buildProgram(): Command {
  const program = new Command('branchline')
    .description('Branch networking for Linux: multipath tunnels and instant IPsec VPN.')
    .option('--json', 'print JSON: one document, or one line each while something goes on')
    .option(
      '--data-dir <directory>',
      'orchestrator data directory (or admin file) to administer; also BRANCHLINE_ADMIN',
    )
    .option('--url <url>', 'orchestrator to dial instead of the one in the admin file; also BRANCHLINE_URL')
    .option('--socket <path>', 'socket of the local agent', '/run/branchline/agent.sock')
    .addHelpText(
      'after',
      `
Examples:
  branchline orchestrator init && branchline orchestrator run
  branchline enterprise create acme
  branchline node create gw1 --role gateway --endpoint 192.0.2.1
  branchline node create edge-a --enterprise acme --subnet 10.1.0.0/24
  branchline agent activate --url 192.0.2.9:2428 BL1-...
  branchline vpn on acme
  branchline status

Exit codes: 0 done, 1 refused or failed, 2 wrong usage or input, 3 the orchestrator or the agent cannot be reached.`,
    )
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError('(--help shows what there is)')
    .exitOverride()
  for (const add of [
    addOrchestrator,
    addEnterprise,
    addNode,
    addSubnet,
    addGateway,
    addVpn,
    addPolicy,
    addZone,
    addChain,
    addRule,
    addEvents,
    addAgent,
    addLocal,
    addPaths,
    addServices,
    addLab,
    addCompletion,
  ]) {
    add(program)
  }
  return program
}
