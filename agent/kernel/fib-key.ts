/** What a route is filed under, for both families. */
export interface FibKey {
  vrf: number
  /** Canonical text; bits behind the prefix length are zero. */
  address: string
  /** Of the address alone: 0 to 32 or 128. */
  prefixLength: number
}
