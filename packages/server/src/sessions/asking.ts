import { copy } from './output.ts'

/** Characters of a prompt that are kept. */
const MAX_PROMPT = 65_536

interface InputQuestion {
  readonly prompt: string
  readonly password: boolean
}

/** What an execution asks, whether a client knows, and how long its code has waited. Events are numbers of its log, times monotonic ms. */
export class Asking {
  /** The event of the last question that a client was told of, 0 before. */
  announced = 0
  #question: InputQuestion | undefined
  #event = 0
  #since: number | undefined
  #waitedMs = 0
  #answeredAfter = 0

  /** The one at hand. */
  get question(): InputQuestion | undefined {
    return this.#question
  }

  /** There is one, and a client was told. */
  get isAnnounced(): boolean {
    return this.#question !== undefined && this.announced >= this.#event
  }

  /** How long the code has waited for answers, the one at hand left out. */
  get waitedMs(): number {
    return this.#waitedMs
  }

  /** How long code that was started then has run, its waiting left out. */
  ranMs(startedAt: number): number {
    return (this.#since ?? performance.now()) - startedAt - this.#waitedMs
  }

  /** The last event before the latest answer, 0 without one. */
  get answeredAfter(): number {
    return this.#answeredAfter
  }

  /** The question is event `event`. A thread may ask while another one does. */
  begin(prompt: string, password: boolean, event: number): InputQuestion {
    this.#question = {
      prompt: prompt.length <= MAX_PROMPT ? prompt : copy(prompt.slice(0, MAX_PROMPT)),
      password,
    }
    this.#since ??= performance.now()
    this.#event = event
    return this.#question
  }

  /** A client has been told everything up to an event; true where that includes a question for the first time. */
  announce(event: number): boolean {
    if (!this.#question || this.#event > event || this.announced === this.#event) return false
    this.announced = this.#event
    return true
  }

  /** The code goes on; `lastEvent` was the last one before. */
  answer(lastEvent: number): void {
    this.#question = undefined
    this.#waitedMs += performance.now() - (this.#since ?? performance.now())
    this.#since = undefined
    this.#answeredAfter = lastEvent
  }

  /** The code has ended. */
  drop(): void {
    this.#question = undefined
  }

  /** Of what was taken up from another server: how long it had waited, and when the one at hand, if any, was asked. */
  restore(waitedMs: number, askedMsAgo: number): void {
    this.#waitedMs = waitedMs
    if (this.#question) this.#since = performance.now() - askedMsAgo
  }
}
