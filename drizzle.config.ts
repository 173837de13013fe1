/** `npx drizzle-kit generate` writes the next migration from orchestrator/store/schema.ts. */
import { defineConfig } from 'drizzle-kit'

export default defineConfig({
  dialect: 'postgresql',
  schema: './orchestrator/store/schema.ts',
  out: './orchestrator/store/migrations',
})
