// What is wrong once is often wrong everywhere: so many lines say it.
const MAX_WRONGS = 40

/** What happened when, for whoever looks for the cause of what went wrong. */
export class Diary {
  readonly #began = performance.now()
  readonly #say: (line: string) => void
  /** All of it, in order. */
  readonly lines: string[] = []
  /** What must not happen. */
  readonly wrongs: string[] = []

  constructor (say: (line: string) => void) {
    this.#say = say
  }

  /** Seconds since the beginning. */
  get seconds (): number { return (performance.now() - this.#began) / 1_000 }

  happened (what: string): void {
    const line = `${this.seconds.toFixed(3).padStart(8)} s  ${what}`
    this.lines.push(line)
    this.#say(line)
  }

  wrong (what: string): void {
    if (this.wrongs.length === MAX_WRONGS) return
    this.happened(`WRONG: ${what}`)
    this.wrongs.push(this.lines.at(-1)!)
  }
}
