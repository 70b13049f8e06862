import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { FrameDecoder, FrameError } from '../../packages/server/src/channel/framing.ts'

type Hex = string | { readonly repeat: string; readonly times: number }

interface Case {
  readonly name: string
  readonly hex: string | readonly Hex[]
  readonly maxFrameBytes?: number
  readonly expect: readonly ({ kind: 0; json: unknown } | { kind: 1; stream: number; hex: string })[]
  readonly outcome?: 'error' | 'any'
}

// The agent's decoder is held to the same file, in test/agent.
const file = path.resolve(import.meta.dirname, '../conformance/frames.json')
const { cases } = JSON.parse(readFileSync(file, 'utf8')) as { cases: readonly Case[] }

function toBytes(hex: Case['hex']): Buffer {
  const parts = [hex].flat().map((part) => (typeof part === 'string' ? part : part.repeat.repeat(part.times)))
  return Buffer.from(parts.join(''), 'hex')
}

function decode(
  bytes: Buffer,
  chunkBytes: number,
  maxFrameBytes: number | undefined,
): { frames: unknown[]; failed: boolean } {
  const decoder = new FrameDecoder(maxFrameBytes)
  const frames: unknown[] = []
  try {
    for (let at = 0; at < bytes.length; at += chunkBytes) {
      for (const frame of decoder.push(bytes.subarray(at, at + chunkBytes))) {
        frames.push(
          frame.kind === 'json'
            ? { kind: 0, json: frame.json }
            : { kind: 1, stream: frame.stream, hex: frame.bytes.toString('hex') },
        )
      }
    }
  } catch (error) {
    assert.ok(error instanceof FrameError, String(error))
    return { frames, failed: true }
  }
  return { frames, failed: false }
}

for (const { name, hex, maxFrameBytes, expect, outcome } of cases) {
  test(`frames: ${name}`, () => {
    const bytes = toBytes(hex)
    const sizes = bytes.length > 1000 ? [bytes.length, 4096, 7] : [bytes.length || 1, 1, 2, 3, 5, 7]
    for (const size of sizes) {
      const { frames, failed } = decode(bytes, size, maxFrameBytes)
      if (outcome === 'any') continue
      assert.deepEqual(frames, expect, `cut in pieces of ${size}`)
      assert.equal(failed, outcome === 'error', `cut in pieces of ${size}`)
    }
  })
}
