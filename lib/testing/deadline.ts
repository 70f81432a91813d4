import { clearTimeout, setTimeout } from '../clock.ts'
import { FST_SSE_TEST_TIMEOUT } from '../errors.ts'

// What a timer holds; a longer time would be over at once.
const LONGEST = 2 ** 31 - 1
// Of what came, a message shows the last few, and the beginning of each.
const SHOWN = 10
const WIDTH = 100

/** One wait of a test. It is over in time, whatever the clock of the test says, and where it was in vain it says what came instead. */
export class Deadline {
  readonly #what: string
  readonly #time: number
  readonly #notes: string[] = []
  readonly #late: Promise<'late'>
  #timer: NodeJS.Timeout | undefined

  /** `what`: which request, and what of it. */
  constructor (what: string, time: number) {
    this.#what = what
    this.#time = time
    this.#late = new Promise(resolve => { this.#timer = setTimeout(resolve, Math.min(LONGEST, time), 'late') })
  }

  /** `why`: what else is to be known of it when it is late. */
  async for<T> (promise: Promise<T>, why = ''): Promise<T> {
    const result = await Promise.race([promise.then(value => ({ value })), this.#late])
    if (result === 'late') throw this.error(`within ${this.#time} ms${why}`)
    return result.value
  }

  note (text: string): void {
    this.#notes.push(text.length > WIDTH ? `${text.slice(0, WIDTH)}…` : text)
  }

  error (when: string, cause?: unknown): Error {
    const all = this.#notes
    const count = all.length > SHOWN ? `${all.length}, the last of them ` : ''
    const error = new FST_SSE_TEST_TIMEOUT(this.#what, when, all.length === 0 ? 'nothing' : count + all.slice(-SHOWN).join(', '))
    if (cause !== undefined) error.cause = cause
    return error
  }

  over (): void { clearTimeout(this.#timer) }
}
