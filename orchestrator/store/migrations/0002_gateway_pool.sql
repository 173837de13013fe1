ALTER TABLE "nodes" ADD COLUMN "virtual_pool" integer;--> statement-breakpoint
ALTER TABLE "nodes" ADD CONSTRAINT "node_virtual_pool" UNIQUE("virtual_pool");--> statement-breakpoint
UPDATE "nodes" SET "virtual_pool" = "numbered"."pool" FROM (SELECT "id", row_number() OVER (ORDER BY "created", "id") - 1 AS "pool" FROM "nodes" WHERE "role" = 'gateway') AS "numbered" WHERE "nodes"."id" = "numbered"."id";--> statement-breakpoint
ALTER TABLE "nodes" ADD CONSTRAINT "gateway_has_pool" CHECK (("nodes"."role" = 'gateway') = ("nodes"."virtual_pool" is not null));