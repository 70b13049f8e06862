/** A server that runs code in kernels, as its clients see it: what is measured, and what it is compared with. */
export interface Subject {
  readonly name: string
  /** Of the server; its descendants are the kernels. */
  readonly pid: number
  create(): Promise<Kernel>
  /** Resolves when what it does behind its answers is done, so that the next thing asked has the machine to itself. */
  settle(): Promise<void>
  close(): Promise<void>
}

export interface Kernel {
  /** Resolves with the text of the value, or what it printed, once the server says that the code has ended. */
  run(code: string): Promise<string>
  /** Runs code whose output is read as it comes; resolves with the bytes of text that came. */
  stream(code: string): Promise<number>
  interrupt(): Promise<void>
  /** Resolves when code can be sent again. */
  restart(): Promise<void>
  destroy(): Promise<void>
}
