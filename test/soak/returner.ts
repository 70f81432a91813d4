import { fieldsOf, SequenceCheck } from './sequence-check.ts'
import { Wire, type Ending } from './wire.ts'

/**
 * A client that obeys `retry:` exactly: when its stream ends, it reconnects after just that delay, to the next server.
 */
export class Returner {
  readonly place = new SequenceCheck()
  live = false
  readonly endings: Ending[] = []
  /** When its first stream ended, when it was due to reconnect, and when it did. */
  endedAt = 0
  retry: number | undefined
  returnedAt: number | undefined
  wrong: string | undefined
  #wire: Wire | undefined
  readonly #ports: readonly number[]

  /** The servers, one after the other. */
  constructor (...ports: number[]) {
    this.#ports = ports
  }

  /** The due moment; undefined if it received no delay. */
  get due (): number | undefined { return this.retry === undefined ? undefined : this.endedAt + this.retry }

  join (): void {
    const { id } = this.place
    this.live = false
    const headers = { accept: 'text/event-stream', ...id !== undefined && { 'last-event-id': id } }
    this.#wire = new Wire(this.#ports[this.endings.length]!, '/news', headers, {
      head: status => { if (status !== 200) this.wrong ??= `status ${status}` },
      frame: frame => this.#take(frame),
      over: ending => this.#over(ending)
    })
  }

  leave (): void { this.#wire?.socket.destroy() }

  #take (frame: string): void {
    if (/^: (live|replay)/.test(frame)) this.live = true
    const fields = fieldsOf(frame)
    if (fields.retry !== undefined) this.retry = Number(fields.retry)
    const wrong = this.place.take(fields)
    if (wrong !== undefined || fields.event?.startsWith('sse.') === true) this.wrong ??= wrong ?? frame
  }

  #over (ending: Ending): void {
    this.endings.push(ending)
    if (this.endings.length === this.#ports.length || this.retry === undefined) return
    this.endedAt = performance.now()
    setTimeout(() => {
      this.returnedAt = performance.now()
      this.join()
    }, this.retry)
  }
}
