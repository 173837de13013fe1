/** Keys whose TypeScript form is not that of abi.h: addresses as text. */
import { be32, formatBe32 } from '../../schema/address.ts'
import { type Codec, viewOf } from '../../schema/codec.ts'

/** A __be32 as address text. */
export const be32TextCodec: Codec<string> = {
  size: 4,
  encode: text => {
    const bytes = new Uint8Array(4)
    viewOf(bytes).setUint32(0, be32(text))
    return bytes
  },
  decode: bytes => formatBe32(viewOf(bytes).getUint32(0)),
}
