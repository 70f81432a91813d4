// What is wrong once is often wrong everywhere: so many lines say it.
const MAX_WRONGS = 20
const ERROR = 50

/** A log of which nothing is kept but how much there was of what, and what should not be there. */
export class Lines {
  readonly counts: Record<string, number> = {}
  readonly wrongs: string[] = []

  write (line: string): void {
    const { level, msg } = JSON.parse(line) as { level: number, msg: string }
    // An address is a line of its own each time.
    const what = `${level} ${msg.replace(/https?:\S+/, '…')}`
    this.counts[what] = (this.counts[what] ?? 0) + 1
    if (level >= ERROR) this.wrong(line.trimEnd())
  }

  wrong (what: string): void {
    if (this.wrongs.length < MAX_WRONGS) this.wrongs.push(what)
  }
}
