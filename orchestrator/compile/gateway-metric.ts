/**
 * In which order an edge gets its gateways before it has measured any: by the admin's metric and by distance. Pure.
 *
 *   static metric = admin metric + distance in units of 100 km
 *
 * Light in fibre covers 200 km in a millisecond, so 100 km there and back take one: a unit is a millisecond of round trip, which is what the edge adds
 * once it has measured (agent/edge/gateway-choice.ts). A route is never shorter than the great circle. Where nobody knows a location, distance counts
 * nothing.
 */
import type { Location } from '../../schema/common.ts'
import type { GatewayEntry } from '../../schema/node-state.ts'

/** A gateway as an enterprise's edges may use it. */
export interface GatewayIntent extends Omit<GatewayEntry, 'metric' | 'distanceKm'> {
  /** Of the assignment; smaller is preferred. */
  adminMetric: number
  location: Location | null
}

const KM_PER_UNIT = 100
/** Mean radius of the Earth (IUGG). */
const EARTH_KM = 6371.0088

/** Best first; those that are to be drained come last, equal ones by name. */
export function rankGateways(gateways: readonly GatewayIntent[], from: Location | null): GatewayEntry[] {
  return gateways
    .map(({ adminMetric, location, ...entry }): GatewayEntry => {
      const distanceKm = from && location ? Math.round(greatCircleKm(from, location)) : null
      return { ...entry, metric: adminMetric + Math.round((distanceKm ?? 0) / KM_PER_UNIT), distanceKm }
    })
    .sort(
      (a, b) =>
        Number(a.drained) - Number(b.drained) ||
        a.metric - b.metric ||
        (a.name < b.name ? -1 : Number(a.name > b.name)),
    )
}

/** Haversine formula: exact to 0.5 %, and well-behaved for near and for opposite points. */
export function greatCircleKm(a: Location, b: Location): number {
  const radians = (degrees: number) => (degrees * Math.PI) / 180
  const [from, to] = [radians(a.latitude), radians(b.latitude)]
  const north = Math.sin((to - from) / 2) ** 2
  const east = Math.cos(from) * Math.cos(to) * Math.sin(radians(b.longitude - a.longitude) / 2) ** 2
  return 2 * EARTH_KM * Math.asin(Math.min(1, Math.sqrt(north + east)))
}
