// One violation often repeats everywhere: only that many lines are printed.
const MAX_WRONGS = 40

/** A log of all that happened, for finding the cause of a violation. */
export class Diary {
  readonly #began = performance.now()
  readonly #say: (line: string) => void
  /** All of it, in order. */
  readonly lines: string[] = []
  /** The violations. */
  readonly wrongs: string[] = []

  constructor (say: (line: string) => void) {
    this.#say = say
  }

  /** Seconds since the start. */
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
