import type { OutputEvent } from './output.ts'

/** Bytes that code put out by this event: text in UTF-8, and the contents of bundles. */
export function toOutputBytes(event: OutputEvent): number {
  switch (event.type) {
    case 'stream':
      return Buffer.byteLength(event.text)
    case 'error':
      return sizeOf([event.name, ...event.args, ...event.traceback])
    case 'display_data':
    case 'update_display_data':
    case 'execute_result':
      return sizeOf(Object.values(event.data))
    case 'clear_output':
      return 0
    default:
      return event satisfies never
  }
}

function sizeOf(values: readonly unknown[]): number {
  return values.reduce<number>(
    (sum, value) =>
      sum + Buffer.byteLength(typeof value === 'string' ? value : (JSON.stringify(value) ?? '')),
    0,
  )
}
