/**
 * The orchestrator's tables: one schema for PGlite and PostgreSQL >= 15. What two requests could race on is guarded here and not in code:
 * unique names, one use of a key, one owner of a prefix. What drizzle cannot express (the exclusion constraint over prefixes, the append-only
 * trigger of `events`) is in migrations/0001_guards.sql.
 */
import { sql } from 'drizzle-orm'
import {
  bigserial,
  boolean,
  check,
  cidr,
  customType,
  doublePrecision,
  foreignKey,
  index,
  inet,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  timestamp,
  unique,
  uuid,
} from 'drizzle-orm/pg-core'
import type { PolicyIntent } from '../../schema/policy.ts'

const bytea = customType<{ data: Uint8Array; driverData: Uint8Array }>({
  dataType: () => 'bytea',
  toDriver: value => Buffer.from(value),
  fromDriver: value => new Uint8Array(value),
})

const time = (name: string) => timestamp(name, { withTimezone: true, mode: 'date' })

export const enterprises = pgTable('enterprises', {
  /** The logical id that travels in grants and selects the VRF. */
  id: uuid('id').primaryKey(),
  name: text('name').notNull().unique('enterprise_name'),
  security: text('security', { enum: ['esp', 'clear'] }).notNull(),
  vpnEnabled: boolean('vpn_enabled').notNull().default(false),
  vpnChanged: time('vpn_changed'),
  /** Grows with anything that concerns every edge of the enterprise (see `generations`). */
  revision: integer('revision').notNull().default(0),
  created: time('created').notNull().defaultNow(),
})

export const nodes = pgTable(
  'nodes',
  {
    id: uuid('id').primaryKey(),
    name: text('name').notNull().unique('node_name'),
    /** Null for the operator's own gateways. */
    enterprise: uuid('enterprise_id').references(() => enterprises.id),
    role: text('role', { enum: ['edge', 'gateway'] }).notNull(),
    status: text('status', { enum: ['created', 'active', 'revoked'] })
      .notNull()
      .default('created'),
    /** Gateways: which part of the virtual range is theirs (virtual-pool.ts). */
    virtualPool: integer('virtual_pool').unique('node_virtual_pool'),
    /** Noise static public key, 32 bytes; null until activation. */
    staticKey: bytea('static_key').unique('node_static_key'),
    /** Where it is, in degrees (WGS 84): what a gateway's distance from an edge is reckoned from. Both or neither. */
    latitude: doublePrecision('latitude'),
    longitude: doublePrecision('longitude'),
    /** A gateway that edges are to move their flows off. */
    drained: boolean('drained').notNull().default(false),
    /** Serial of the newest grant; 0: never granted. Only grows. */
    grantSerial: integer('grant_serial').notNull().default(0),
    /** Grows with anything that concerns this node alone (see `generations`). */
    revision: integer('revision').notNull().default(0),
    created: time('created').notNull().defaultNow(),
    activated: time('activated'),
  },
  table => [
    unique('node_of_enterprise').on(table.id, table.enterprise),
    index('nodes_by_enterprise').on(table.enterprise),
    check('gateway_has_pool', sql`(${table.role} = 'gateway') = (${table.virtualPool} is not null)`),
    check(
      'whole_location',
      sql`(${table.latitude} is null) = (${table.longitude} is null) and ${table.latitude} between -90 and 90 and ${table.longitude} between -180 and 180`,
    ),
    check('gateways_drain', sql`${table.role} = 'gateway' or not ${table.drained}`),
    check('edge_has_enterprise', sql`${table.role} = 'gateway' or ${table.enterprise} is not null`),
    check('active_has_key', sql`${table.status} <> 'active' or ${table.staticKey} is not null`),
  ],
)

export const activationKeys = pgTable(
  'activation_keys',
  {
    id: text('id').primaryKey(),
    node: uuid('node_id')
      .notNull()
      .references(() => nodes.id, { onDelete: 'cascade' }),
    /** SHA-256 of the secret: 160 random bits need no slow hash. */
    secretHash: bytea('secret_hash').notNull(),
    created: time('created').notNull().defaultNow(),
    expires: time('expires').notNull(),
    used: time('used'),
  },
  table => [index('activation_keys_by_node').on(table.node)],
)

/** TLS client certificates of nodes: only those found here open a connection. */
export const certificates = pgTable(
  'certificates',
  {
    /** SHA-256 of the DER, hex. */
    fingerprint: text('fingerprint').primaryKey(),
    node: uuid('node_id')
      .notNull()
      .references(() => nodes.id, { onDelete: 'cascade' }),
    issued: time('issued').notNull().defaultNow(),
    expires: time('expires').notNull(),
  },
  table => [index('certificates_by_node').on(table.node)],
)

export const grants = pgTable(
  'grants',
  {
    node: uuid('node_id')
      .notNull()
      .references(() => nodes.id, { onDelete: 'cascade' }),
    serial: integer('serial').notNull(),
    /** The whole signed envelope (schema/grant.ts) in base64, as node state carries it: reading thousands of bytea costs five times as much. */
    envelope: text('envelope').notNull(),
    issued: time('issued').notNull(),
    expires: time('expires').notNull(),
    revoked: time('revoked'),
  },
  table => [primaryKey({ columns: [table.node, table.serial] }), index('grants_by_expiry').on(table.expires)],
)

export const subnets = pgTable(
  'subnets',
  {
    enterprise: uuid('enterprise_id').notNull(),
    prefix: cidr('prefix').notNull(),
    node: uuid('node_id').notNull(),
    /** May be reached while the enterprise's VPN is on. */
    enabled: boolean('enabled').notNull().default(true),
    /**
     * Gateways that may hear of it; null: all. No foreign key: when the last one named is deleted, the subnet is announced nowhere, not everywhere.
     */
    gateways: uuid('gateways').array(),
    created: time('created').notNull().defaultNow(),
  },
  table => [
    primaryKey({ columns: [table.enterprise, table.prefix] }),
    foreignKey({
      name: 'subnet_owner',
      columns: [table.node, table.enterprise],
      foreignColumns: [nodes.id, nodes.enterprise],
    }).onDelete('cascade'),
    index('subnets_by_node').on(table.node),
  ],
)

export const gatewayEndpoints = pgTable(
  'gateway_endpoints',
  {
    node: uuid('node_id')
      .notNull()
      .references(() => nodes.id, { onDelete: 'cascade' }),
    /** Order of preference. */
    position: integer('position').notNull(),
    address: inet('address').notNull(),
    port: integer('port').notNull(),
  },
  table => [
    primaryKey({ columns: [table.node, table.position] }),
    unique('gateway_endpoint').on(table.address, table.port),
    check('endpoint_port', sql`${table.port} between 1 and 65535`),
  ],
)

/** An enterprise without a row here uses every gateway. */
export const gatewayAssignments = pgTable(
  'gateway_assignments',
  {
    enterprise: uuid('enterprise_id')
      .notNull()
      .references(() => enterprises.id, { onDelete: 'cascade' }),
    gateway: uuid('gateway_id')
      .notNull()
      .references(() => nodes.id, { onDelete: 'cascade' }),
    metric: integer('metric').notNull(),
  },
  table => [primaryKey({ columns: [table.enterprise, table.gateway] })],
)

/**
 * What an enterprise wants done to its connections (schema/policy.ts), one document each: it is signed, published and taken as a whole, and its parts
 * mean nothing without each other. Works come one at a time, so nobody's change is lost. Without a row there never was a policy.
 */
export const policies = pgTable('policies', {
  enterprise: uuid('enterprise_id')
    .primaryKey()
    .references(() => enterprises.id, { onDelete: 'cascade' }),
  /** Only grows: gateways keep the highest that they have seen. */
  version: integer('version').notNull(),
  /** Connections that an older version steered are steered anew. */
  oldest: integer('oldest').notNull(),
  /** Number of the newest rule; none is given twice. */
  lastRule: integer('last_rule').notNull(),
  intent: jsonb('intent').$type<PolicyIntent>().notNull(),
  /** The signed document in base64, as node state carries it. */
  envelope: text('envelope').notNull(),
  /** Who signed it, as `signing_keys` names keys. */
  signer: text('signer').notNull(),
  issued: time('issued').notNull(),
})

/** Grants of `node` up to `upTo` are refused. No foreign key: a deleted node's grants live on until they expire. */
export const revocations = pgTable('revocations', {
  node: uuid('node_id').primaryKey(),
  upTo: integer('up_to').notNull(),
  /** When the last of those grants expires by itself: the row has done its work then. */
  expires: time('expires').notNull(),
  created: time('created').notNull().defaultNow(),
})

/** The signed lists in base64, as node state carries them; the highest serial counts. */
export const revocationLists = pgTable('revocation_lists', {
  serial: integer('serial').primaryKey(),
  envelope: text('envelope').notNull(),
  issued: time('issued').notNull(),
})

/**
 * One row: what concerns every node, and what concerns every edge. A state's revision is the sum of the counters of all that it is compiled from
 * (store/revision.ts); each grows in the transaction of the change, so a toggle writes one row however many edges there are.
 */
export const generations = pgTable(
  'generations',
  {
    id: integer('id').primaryKey(),
    /** Anchors and revocations. */
    trust: integer('trust').notNull(),
    /** Gateways and their endpoints. */
    gateways: integer('gateways').notNull(),
  },
  table => [check('one_row', sql`${table.id} = 1`)],
)

/** Public halves of grant-signing keys; nodes trust every one that is not retired. */
export const signingKeys = pgTable('signing_keys', {
  /** First 8 bytes of SHA-256 of the public key, hex. */
  id: text('id').primaryKey(),
  /** Ed25519, 32 bytes. */
  publicKey: bytea('public_key').notNull(),
  created: time('created').notNull().defaultNow(),
  retired: time('retired'),
})

/** The CA whose certificates this database's nodes hold: a replica with another one is refused at start. */
export const authorities = pgTable('authorities', {
  /** SHA-256 of the DER, hex. */
  fingerprint: text('fingerprint').primaryKey(),
  certificate: text('certificate').notNull(),
  created: time('created').notNull().defaultNow(),
})

/** Audit log: append only (a trigger refuses UPDATE and DELETE). Names are kept as text: they outlive what they name. */
export const events = pgTable(
  'events',
  {
    id: bigserial('id', { mode: 'number' }).primaryKey(),
    time: time('time').notNull().defaultNow(),
    severity: text('severity', { enum: ['info', 'warning', 'error'] }).notNull(),
    /** `admin:<name>`, `node:<name>`, `orchestrator` */
    actor: text('actor').notNull(),
    /** `enterprise.create`, `vpn.on`, `node.event.prefix-refused` ... */
    action: text('action').notNull(),
    /** What it was done to: `enterprise:acme`, `node:edge-a`. */
    object: text('object').notNull(),
    enterprise: text('enterprise'),
    message: text('message').notNull(),
    detail: jsonb('detail'),
  },
  table => [index('events_by_action').on(table.action, table.id), index('events_by_object').on(table.object, table.id)],
)
