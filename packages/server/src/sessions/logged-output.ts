import type { NewEvent } from './event-log.ts'
import type { OutputEvent } from './output.ts'

/** An output as an execution's log has it; `count` is the execution's number. */
export function toLogged(event: OutputEvent, count: number): NewEvent {
  switch (event.type) {
    case 'stream':
      return { type: 'stream', name: event.name, text: event.text }
    case 'display_data':
      return { type: 'display', ...shown(event) }
    case 'update_display_data':
      return { type: 'display', ...shown(event), update: true }
    case 'clear_output':
      return { type: 'clear', wait: event.wait }
    case 'execute_result':
      return { type: 'result', data: event.data, metadata: event.metadata, count }
    case 'error': {
      const { name, args, traceback, before, frames } = event
      return { type: 'error', name, args, traceback, before, ...(frames && { frames }) }
    }
  }
}

function shown({ data, metadata, displayId }: Extract<OutputEvent, { displayId?: string | undefined }>) {
  return { data, metadata, ...(displayId !== undefined && { displayId }) }
}

/** The way back; undefined for an event that is no output. */
export function toOutput(event: NewEvent): OutputEvent | undefined {
  switch (event.type) {
    case 'stream':
    case 'error':
      return event
    case 'display': {
      const { data, metadata, displayId } = event
      return event.update && displayId !== undefined
        ? { type: 'update_display_data', data, metadata, displayId }
        : { type: 'display_data', data, metadata, displayId }
    }
    case 'clear':
      return { type: 'clear_output', wait: event.wait }
    case 'result':
      return { type: 'execute_result', data: event.data, metadata: event.metadata }
    default:
      return undefined
  }
}
