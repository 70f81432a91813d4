import { clearTimeout, setTimeout } from '../clock.ts'
import { FST_SSE_TEST_TIMEOUT } from '../errors.ts'

// The longest delay that a timer can hold: a longer one fires at once.
const LONGEST = 2 ** 31 - 1
// A message shows the last notes, and the beginning of each.
const MAX_NOTES = 10
const WIDTH = 100

/** The time limit of one wait of a test, by the real clock. Its error lists the events that arrived instead. */
export class Deadline {
  readonly #subject: string
  readonly #time: number
  readonly #notes: string[] = []
  readonly #late: Promise<'late'>
  #timer: NodeJS.Timeout | undefined

  /** `subject`: the request and the awaited part of it. */
  constructor (subject: string, time: number) {
    this.#subject = subject
    this.#time = time
    this.#late = new Promise(resolve => { this.#timer = setTimeout(resolve, Math.min(LONGEST, time), 'late') })
  }

  /** Resolves with the promise, or rejects with FST_SSE_TEST_TIMEOUT. `detail` is added to its message. */
  async for<T> (promise: Promise<T>, detail = ''): Promise<T> {
    const result = await Promise.race([promise.then(value => ({ value })), this.#late])
    if (result === 'late') throw this.error(`within ${this.#time} ms${detail}`)
    return result.value
  }

  note (text: string): void {
    this.#notes.push(text.length > WIDTH ? `${text.slice(0, WIDTH)}…` : text)
  }

  error (when: string, cause?: unknown): Error {
    const all = this.#notes
    const count = all.length > MAX_NOTES ? `${all.length}, the last of them ` : ''
    const error = new FST_SSE_TEST_TIMEOUT(this.#subject, when,
      all.length === 0 ? 'nothing' : count + all.slice(-MAX_NOTES).join(', '))
    if (cause !== undefined) error.cause = cause
    return error
  }

  over (): void { clearTimeout(this.#timer) }
}
