/** Names and numbers of the rig's world (rig.ts). */
export const VRF = 7
export const NODE = '100.64.0.2'
export const PEER = '100.64.0.1'
export const OTHER = '100.64.0.9'
export const SID = 0x100
export const REMOTE_SID = 0x900
export const OTHER_SID = 0x200
export const MTU = { secure: 1378, clear: 1432 }
export const WAN = {
  4: { local: '198.51.100.2', remote: '198.51.100.1' },
  6: { local: '2001:db8::2', remote: '2001:db8::1' },
} as const
