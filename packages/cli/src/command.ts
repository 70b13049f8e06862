import type { Command } from 'commander'

/** Adds one verb; `done` takes the exit status. */
export type AddCommand = (program: Command, done: (exitCode: number) => void) => void
