-- One owner of an address within one enterprise: two overlapping prefixes cannot be committed, whoever inserts them and when.
CREATE EXTENSION IF NOT EXISTS btree_gist;
--> statement-breakpoint
ALTER TABLE "subnets" ADD CONSTRAINT "subnet_overlap" EXCLUDE USING gist ("enterprise_id" WITH =, "prefix" inet_ops WITH &&);
--> statement-breakpoint
CREATE FUNCTION "refuse_change"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'table % is append only', TG_TABLE_NAME USING ERRCODE = 'object_not_in_prerequisite_state';
END
$$;
--> statement-breakpoint
CREATE TRIGGER "events_append_only" BEFORE UPDATE OR DELETE OR TRUNCATE ON "events" FOR EACH STATEMENT EXECUTE FUNCTION "refuse_change"();
--> statement-breakpoint
INSERT INTO "generations" ("id", "trust", "gateways") VALUES (1, 0, 0);
