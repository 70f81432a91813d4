// One violation often repeats everywhere: only that many lines are kept.
const MAX_WRONGS = 20
const ERROR = 50

/** A log that keeps only counts by message, and unexpected lines. */
export class Lines {
  readonly counts: Record<string, number> = {}
  readonly wrongs: string[] = []

  write (line: string): void {
    const { level, msg } = JSON.parse(line) as { level: number, msg: string }
    // Addresses are removed, because each would make another line.
    const what = `${level} ${msg.replace(/https?:\S+/, '…')}`
    this.counts[what] = (this.counts[what] ?? 0) + 1
    if (level >= ERROR) this.wrong(line.trimEnd())
  }

  wrong (what: string): void {
    if (this.wrongs.length < MAX_WRONGS) this.wrongs.push(what)
  }
}
