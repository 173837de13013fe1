CREATE TABLE "policies" (
	"enterprise_id" uuid PRIMARY KEY NOT NULL,
	"version" integer NOT NULL,
	"oldest" integer NOT NULL,
	"last_rule" integer NOT NULL,
	"intent" jsonb NOT NULL,
	"envelope" text NOT NULL,
	"signer" text NOT NULL,
	"issued" timestamp with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "policies" ADD CONSTRAINT "policies_enterprise_id_enterprises_id_fk" FOREIGN KEY ("enterprise_id") REFERENCES "public"."enterprises"("id") ON DELETE cascade ON UPDATE no action;