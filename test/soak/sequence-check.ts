/** The fields of a frame. */
export function fieldsOf (frame: string): Record<string, string> {
  const fields: Record<string, string> = {}
  for (const line of frame.split('\n')) {
    const colon = line.indexOf(': ')
    if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 2)
  }
  // A position is no event.
  if (fields.event === 'sse.position') delete fields.event
  return fields
}

/**
 * The position of a client in one channel. Checks that the next event is the next: nothing is lost silently or
 * duplicated.
 */
export class SequenceCheck {
  #epoch = ''
  #position: number | undefined
  events = 0

  get position (): number | undefined { return this.#position }
  get id (): string | undefined { return this.#position === undefined ? undefined : `${this.#epoch}-${this.#position}` }

  /** Returns the fault of a frame, or undefined. An event contains its own number, which is its offset. */
  take ({ event, id, data }: Record<string, string>): string | undefined {
    if (id === undefined) return undefined
    const [epoch = '', digits] = id.split('-')
    const offset = Number(digits)
    const expected = this.#position
    const known = this.#epoch
    this.#epoch = epoch
    this.#position = offset
    if (event === 'sse.reset') return JSON.parse(data!).reason === 'evicted' ? undefined : `a reset: ${data}`
    const lost = event === undefined ? 0 : this.#lost(event, data!)
    if (event !== undefined && event !== 'sse.gap' && JSON.parse(data!).number !== offset) {
      return `event ${data!.slice(0, 40)} as ${id}`
    }
    if (expected === undefined || (epoch === known && offset === expected + lost)) return undefined
    return `${event ?? 'a position'} ${id} after ${known}-${expected}`
  }

  /** Moves the position. */
  #lost (event: string, data: string): number {
    if (event === 'sse.gap') return JSON.parse(data).dropped
    this.events++
    return 1
  }
}
