CREATE TABLE "activation_keys" (
	"id" text PRIMARY KEY NOT NULL,
	"node_id" uuid NOT NULL,
	"secret_hash" "bytea" NOT NULL,
	"created" timestamp with time zone DEFAULT now() NOT NULL,
	"expires" timestamp with time zone NOT NULL,
	"used" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "authorities" (
	"fingerprint" text PRIMARY KEY NOT NULL,
	"certificate" text NOT NULL,
	"created" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "certificates" (
	"fingerprint" text PRIMARY KEY NOT NULL,
	"node_id" uuid NOT NULL,
	"issued" timestamp with time zone DEFAULT now() NOT NULL,
	"expires" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "enterprises" (
	"id" uuid PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"security" text NOT NULL,
	"vpn_enabled" boolean DEFAULT false NOT NULL,
	"vpn_changed" timestamp with time zone,
	"revision" integer DEFAULT 0 NOT NULL,
	"created" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "enterprise_name" UNIQUE("name")
);
--> statement-breakpoint
CREATE TABLE "events" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"time" timestamp with time zone DEFAULT now() NOT NULL,
	"severity" text NOT NULL,
	"actor" text NOT NULL,
	"action" text NOT NULL,
	"object" text NOT NULL,
	"enterprise" text,
	"message" text NOT NULL,
	"detail" jsonb
);
--> statement-breakpoint
CREATE TABLE "gateway_assignments" (
	"enterprise_id" uuid NOT NULL,
	"gateway_id" uuid NOT NULL,
	"metric" integer NOT NULL,
	CONSTRAINT "gateway_assignments_enterprise_id_gateway_id_pk" PRIMARY KEY("enterprise_id","gateway_id")
);
--> statement-breakpoint
CREATE TABLE "gateway_endpoints" (
	"node_id" uuid NOT NULL,
	"position" integer NOT NULL,
	"address" "inet" NOT NULL,
	"port" integer NOT NULL,
	CONSTRAINT "gateway_endpoints_node_id_position_pk" PRIMARY KEY("node_id","position"),
	CONSTRAINT "gateway_endpoint" UNIQUE("address","port"),
	CONSTRAINT "endpoint_port" CHECK ("gateway_endpoints"."port" between 1 and 65535)
);
--> statement-breakpoint
CREATE TABLE "generations" (
	"id" integer PRIMARY KEY NOT NULL,
	"trust" integer NOT NULL,
	"gateways" integer NOT NULL,
	CONSTRAINT "one_row" CHECK ("generations"."id" = 1)
);
--> statement-breakpoint
CREATE TABLE "grants" (
	"node_id" uuid NOT NULL,
	"serial" integer NOT NULL,
	"envelope" text NOT NULL,
	"issued" timestamp with time zone NOT NULL,
	"expires" timestamp with time zone NOT NULL,
	"revoked" timestamp with time zone,
	CONSTRAINT "grants_node_id_serial_pk" PRIMARY KEY("node_id","serial")
);
--> statement-breakpoint
CREATE TABLE "nodes" (
	"id" uuid PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"enterprise_id" uuid,
	"role" text NOT NULL,
	"status" text DEFAULT 'created' NOT NULL,
	"static_key" "bytea",
	"grant_serial" integer DEFAULT 0 NOT NULL,
	"revision" integer DEFAULT 0 NOT NULL,
	"created" timestamp with time zone DEFAULT now() NOT NULL,
	"activated" timestamp with time zone,
	CONSTRAINT "node_name" UNIQUE("name"),
	CONSTRAINT "node_static_key" UNIQUE("static_key"),
	CONSTRAINT "node_of_enterprise" UNIQUE("id","enterprise_id"),
	CONSTRAINT "edge_has_enterprise" CHECK ("nodes"."role" = 'gateway' or "nodes"."enterprise_id" is not null),
	CONSTRAINT "active_has_key" CHECK ("nodes"."status" <> 'active' or "nodes"."static_key" is not null)
);
--> statement-breakpoint
CREATE TABLE "revocation_lists" (
	"serial" integer PRIMARY KEY NOT NULL,
	"envelope" text NOT NULL,
	"issued" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "revocations" (
	"node_id" uuid PRIMARY KEY NOT NULL,
	"up_to" integer NOT NULL,
	"expires" timestamp with time zone NOT NULL,
	"created" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "signing_keys" (
	"id" text PRIMARY KEY NOT NULL,
	"public_key" "bytea" NOT NULL,
	"created" timestamp with time zone DEFAULT now() NOT NULL,
	"retired" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "subnets" (
	"enterprise_id" uuid NOT NULL,
	"prefix" "cidr" NOT NULL,
	"node_id" uuid NOT NULL,
	"enabled" boolean DEFAULT true NOT NULL,
	"created" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "subnets_enterprise_id_prefix_pk" PRIMARY KEY("enterprise_id","prefix")
);
--> statement-breakpoint
ALTER TABLE "activation_keys" ADD CONSTRAINT "activation_keys_node_id_nodes_id_fk" FOREIGN KEY ("node_id") REFERENCES "public"."nodes"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "certificates" ADD CONSTRAINT "certificates_node_id_nodes_id_fk" FOREIGN KEY ("node_id") REFERENCES "public"."nodes"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "gateway_assignments" ADD CONSTRAINT "gateway_assignments_enterprise_id_enterprises_id_fk" FOREIGN KEY ("enterprise_id") REFERENCES "public"."enterprises"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "gateway_assignments" ADD CONSTRAINT "gateway_assignments_gateway_id_nodes_id_fk" FOREIGN KEY ("gateway_id") REFERENCES "public"."nodes"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "gateway_endpoints" ADD CONSTRAINT "gateway_endpoints_node_id_nodes_id_fk" FOREIGN KEY ("node_id") REFERENCES "public"."nodes"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "grants" ADD CONSTRAINT "grants_node_id_nodes_id_fk" FOREIGN KEY ("node_id") REFERENCES "public"."nodes"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "nodes" ADD CONSTRAINT "nodes_enterprise_id_enterprises_id_fk" FOREIGN KEY ("enterprise_id") REFERENCES "public"."enterprises"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "subnets" ADD CONSTRAINT "subnet_owner" FOREIGN KEY ("node_id","enterprise_id") REFERENCES "public"."nodes"("id","enterprise_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "activation_keys_by_node" ON "activation_keys" USING btree ("node_id");--> statement-breakpoint
CREATE INDEX "certificates_by_node" ON "certificates" USING btree ("node_id");--> statement-breakpoint
CREATE INDEX "events_by_action" ON "events" USING btree ("action","id");--> statement-breakpoint
CREATE INDEX "events_by_object" ON "events" USING btree ("object","id");--> statement-breakpoint
CREATE INDEX "grants_by_expiry" ON "grants" USING btree ("expires");--> statement-breakpoint
CREATE INDEX "nodes_by_enterprise" ON "nodes" USING btree ("enterprise_id");--> statement-breakpoint
CREATE INDEX "subnets_by_node" ON "subnets" USING btree ("node_id");