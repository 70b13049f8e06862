/** Something to tell the user, without a stack trace. Exit status 1: it failed; 2: wrong usage; 3: no server. */
export class CliError extends Error {
  override readonly name = 'CliError'
  readonly exitCode: number
  constructor(message: string, exitCode: number, options?: ErrorOptions) {
    super(message, options)
    this.exitCode = exitCode
  }
}
