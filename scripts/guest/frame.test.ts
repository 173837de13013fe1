import { expect, it } from 'vitest'
import { encodeFrame, FRAME, FrameReader } from './frame.ts'

function read(chunks: readonly Buffer[]): [number, string][] {
  const frames: [number, string][] = []
  const reader = new FrameReader((type, payload) => frames.push([type, payload.toString()]))
  for (const chunk of chunks) reader.push(chunk)
  return frames
}

const stream = Buffer.concat([
  encodeFrame(FRAME.stdout, 'one'),
  encodeFrame(FRAME.stdinEnd),
  encodeFrame(FRAME.stderr, 'zwei'),
])
const frames: [number, string][] = [
  [FRAME.stdout, 'one'],
  [FRAME.stdinEnd, ''],
  [FRAME.stderr, 'zwei'],
]

it('finds the same frames wherever the stream is cut', () => {
  expect(read([stream])).toEqual(frames)
  for (let cut = 0; cut <= stream.length; cut++) {
    expect(read([stream.subarray(0, cut), stream.subarray(cut)]), `cut at ${cut}`).toEqual(frames)
  }
  expect(read([...stream].map(byte => Buffer.of(byte)))).toEqual(frames)
})

it('keeps an unfinished frame back', () => {
  expect(read([stream.subarray(0, stream.length - 1)])).toEqual(frames.slice(0, 2))
})

it('refuses a length that no agent would send', () => {
  expect(() => read([Buffer.from([FRAME.stdout, 0x01, 0, 0, 1])])).toThrow(RangeError)
})
