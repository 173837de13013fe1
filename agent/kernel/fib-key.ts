/** What a FIB entry is filed under, for both families; fib4_key and fib6_key of abi.h in one. */
export interface FibKey {
  vrf: number
  /** Canonical text; bits behind the prefix length are zero. */
  address: string
  /** Of the address alone: 0 to 32 or 128. */
  prefixLength: number
}
