import type { LogBatch, LogEntry } from './log.ts'

/** Records the batches that a tail delivers, and waits for more of them. */
export class RecordedTail {
  readonly batches: LogBatch[] = []
  #check = (): void => {}

  readonly listener = (batch: LogBatch): void => {
    this.batches.push(batch)
    this.#check()
  }

  get entries (): LogEntry[] { return this.batches.flatMap(batch => batch.entries) }

  waitFor (description: string, condition: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(reject, 5_000, new Error(`The tail did not deliver ${description} within 5 seconds`))
      this.#check = () => {
        if (!condition()) return
        clearTimeout(timer)
        resolve()
      }
      this.#check()
    })
  }
}
