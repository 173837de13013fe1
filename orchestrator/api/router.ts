import { adminRouter } from './admin.ts'
import { agentRouter } from './agent.ts'
import { router } from './trpc.ts'

export const appRouter = router({ admin: adminRouter, agent: agentRouter })
export type AppRouter = typeof appRouter
