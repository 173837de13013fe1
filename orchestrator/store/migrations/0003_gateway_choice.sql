ALTER TABLE "nodes" ADD COLUMN "latitude" double precision;--> statement-breakpoint
ALTER TABLE "nodes" ADD COLUMN "longitude" double precision;--> statement-breakpoint
ALTER TABLE "nodes" ADD COLUMN "drained" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "subnets" ADD COLUMN "gateways" uuid[];--> statement-breakpoint
ALTER TABLE "nodes" ADD CONSTRAINT "whole_location" CHECK (("nodes"."latitude" is null) = ("nodes"."longitude" is null) and "nodes"."latitude" between -90 and 90 and "nodes"."longitude" between -180 and 180);--> statement-breakpoint
ALTER TABLE "nodes" ADD CONSTRAINT "gateways_drain" CHECK ("nodes"."role" = 'gateway' or not "nodes"."drained");