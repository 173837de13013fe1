/** The few kinds of BTF type that abi.h may use, as `bpftool btf dump -j` prints them. */
import { execFileSync } from 'node:child_process'
import { z } from 'zod'

const memberSchema = z.object({
  name: z.string(),
  type_id: z.int(),
  bits_offset: z.int(),
  bitfield_size: z.int().default(0),
})

const typeSchema = z.discriminatedUnion('kind', [
  z.object({ id: z.int(), kind: z.literal('INT'), name: z.string(), size: z.int(), encoding: z.string() }),
  z.object({ id: z.int(), kind: z.literal('TYPEDEF'), name: z.string(), type_id: z.int() }),
  z.object({ id: z.int(), kind: z.literal('ARRAY'), type_id: z.int(), nr_elems: z.int() }),
  z.object({ id: z.int(), kind: z.literal('STRUCT'), name: z.string(), size: z.int(), members: z.array(memberSchema) }),
  z.object({
    id: z.int(),
    kind: z.literal('ENUM'),
    name: z.string(),
    size: z.int(),
    values: z.array(z.object({ name: z.string(), val: z.int() })),
  }),
])

const otherSchema = z.object({ id: z.int(), kind: z.string(), name: z.string().default('(anon)') })

export type BtfType = z.infer<typeof typeSchema>
/** A type of a kind that has no place in the ABI (union, float ...); met only when a member uses it. */
export type OtherType = z.infer<typeof otherSchema>

/** Types by id, in the order of the object file. @throws when bpftool cannot read the file */
export function readBtf(objectPath: string): Map<number, BtfType | OtherType> {
  const text = execFileSync('bpftool', ['btf', 'dump', '-j', 'file', objectPath], { encoding: 'utf8' })
  const { types } = z.object({ types: z.array(z.unknown()) }).parse(JSON.parse(text))
  const parsed = types.map(type => typeSchema.safeParse(type).data ?? otherSchema.parse(type))
  return new Map(parsed.map(type => [type.id, type]))
}
